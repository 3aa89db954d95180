// Denoise every image of a folder:
//   nextflow run main.nf --input 'images/*.tif' --output denoised -resume
// The image is written to the output folder, and not to the work folder of a task: a task that is killed and run again
// continues it with --resume.
nextflow.enable.dsl = 2

params.input = 'images/*.tif'
params.output = 'denoised'
params.options = ''

process DENOISE {
    tag "${image.name}"
    publishDir params.output, mode: 'copy'
    errorStrategy 'retry'
    maxRetries 1
    cpus 2

    input:
    path image

    output:
    path "${image.name}.json"

    script:
    def folder = file(params.output).toAbsolutePath()
    """
    mkdir -p '${folder}'
    masked-denoiser denoise "\$(readlink -f '${image}')" '${folder}/${image.name}.ome.zarr' --resume \\
        --threads ${task.cpus} --quiet --json ${params.options} > '${image.name}.json'
    """
}

workflow {
    DENOISE(Channel.fromPath(params.input, checkIfExists: true))
}
