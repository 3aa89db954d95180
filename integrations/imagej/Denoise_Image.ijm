// Denoise the active image with masked-denoiser, and show the result next to it. For ImageJ 1.53t or newer, and Fiji.
// Put this file and denoise_for_imagej.py into the folder "plugins" of ImageJ or Fiji, and restart it; the macro is then
// in the menu Plugins.
//
// From a script, on a computer with a display (or under xvfb-run):
//   java -jar ij.jar -batch Denoise_Image.ijm "PYTHON|denoise_for_imagej.py|IMAGE|RESULT|OPTIONS"

argument = getArgument();
if (argument == "")
    denoiseWithDialog();
else {
    words = split(argument + " ", "|");
    if (words.length != 5)
        exit("Denoise Image: expected PYTHON|SCRIPT|IMAGE|RESULT|OPTIONS, got: " + argument);
    setBatchMode(true);
    open(words[2]);
    denoiseActiveImage(words[0], words[1], words[4]);
    saveAs("Tiff", words[3]);
}

function denoiseWithDialog() {
    if (nImages == 0)
        exit("Denoise Image: open an image first.");
    python = call("ij.Prefs.get", "masked-denoiser.python", "");
    script = call("ij.Prefs.get", "masked-denoiser.script", getDirectory("plugins") + "denoise_for_imagej.py");
    options = call("ij.Prefs.get", "masked-denoiser.options", "");
    Dialog.create("Denoise Image");
    Dialog.addFile("Python of the environment", python);
    Dialog.addFile("denoise_for_imagej.py", script);
    Dialog.addString("Options of masked-denoiser denoise", options, 30);
    Dialog.show();
    python = Dialog.getString();
    script = Dialog.getString();
    options = Dialog.getString();
    denoiseActiveImage(python, script, options);
    call("ij.Prefs.set", "masked-denoiser.python", python);
    call("ij.Prefs.set", "masked-denoiser.script", script);
    call("ij.Prefs.set", "masked-denoiser.options", options);
}

// Denoise a copy of the active image; afterwards the result is active. The image itself is not changed.
function denoiseActiveImage(python, script, options) {
    title = getTitle();
    mark = getDirectory("temp") + "masked-denoiser-" + getTime();
    input = mark + "-in.tif";
    output = mark + "-out.tif";
    run("Duplicate...", "title=masked-denoiser-copy duplicate");
    saveAs("Tiff", input);
    close();
    showStatus("Denoising " + title);
    message = exec(python, script, input, output, options);
    deleted = File.delete(input);
    if (!startsWith(message, "done"))
        exit("Denoise Image: " + message);
    open(output);
    deleted = File.delete(output);
    rename(title + " denoised");
}
