/**
 * Denoise the open image, or its selected region, with masked-denoiser, and add the result to the project.
 *
 * Automate > Script editor > Run. The program reads the file of the image itself, so that slides of any size are
 * denoised tile by tile; a region is given to it in pixels of the full resolution.
 */
import static qupath.lib.gui.scripting.QPEx.*

import java.awt.image.BufferedImage
import java.nio.file.Path
import java.nio.file.Paths
import qupath.lib.images.servers.ImageServerProvider

// Where the program is: "masked-denoiser" if it is on the PATH, else the full path.
String program = "masked-denoiser"
List<String> options = []

def project = getProject()
if (project == null)
    throw new IllegalStateException("Open or create a project first; the result is added to it.")
def server = getCurrentServer()
def uris = server.getURIs()
if (uris.size() != 1 || uris[0].scheme != "file")
    throw new IllegalStateException("The image is not one local file: ${uris}")
Path input = Paths.get(uris[0])

String part = ""
def roi = getSelectedROI()
if (roi != null) {
    int x = Math.max(0, (int) Math.floor(roi.boundsX))
    int y = Math.max(0, (int) Math.floor(roi.boundsY))
    int right = Math.min(server.width, (int) Math.ceil(roi.boundsX + roi.boundsWidth))
    int bottom = Math.min(server.height, (int) Math.ceil(roi.boundsY + roi.boundsHeight))
    part = "Y=${y}:${bottom},X=${x}:${right}"
}

String name = input.fileName.toString().replaceFirst(/\.[^.]+$/, "")
String suffix = part ? "_" + part.replaceAll(/[^0-9]+/, "_").replaceFirst("^_", "") : ""
Path output = Paths.get(buildFilePath(PROJECT_BASE_DIR, "denoised", "${name}${suffix}.ome.tif".toString()))
mkdirs(output.parent.toString())

List<String> command = [program, "denoise", input.toString(), output.toString(), "--resume", "--quiet"] + options
if (part)
    command += ["--select", part]
println "Running: " + command.join(" ")
def process = new ProcessBuilder(command).redirectErrorStream(true).start()
String messages = process.inputStream.text
if (process.waitFor() != 0)
    throw new RuntimeException("masked-denoiser ended with code ${process.exitValue()}: ${messages}")

def support = ImageServerProvider.getPreferredUriImageSupport(BufferedImage, output.toUri().toString())
if (support == null)
    throw new RuntimeException("QuPath cannot open ${output}")
for (builder in support.builders) {
    def entry = project.addImage(builder)
    entry.setImageName("${name}${suffix} denoised")
}
project.syncChanges()
getQuPath()?.refreshProject()
println "Added ${output} to the project"
