# SPDX-License-Identifier: Apache-2.0
"""Small models of the layouts that k2-fsa/TTS_eval_models has, written into folders as it has them."""

import json
import re
from pathlib import Path

FAIRSEQ = (
    (r"^masked_spec_embed$", "mask_emb"),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"conv_layers\.(\d+)\.conv\.", r"conv_layers.\1.0."),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original0", "pos_conv.0.weight_g"),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original1", "pos_conv.0.weight_v"),
    (r"pos_conv_embed\.conv\.", "pos_conv.0."),
    (r"(layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"attention\.gru_rel_pos_linear\.", "self_attn.grep_linear."),
    (r"attention\.gru_rel_pos_const$", "self_attn.grep_a"),
    (r"attention\.rel_attn_embed\.", "self_attn.relative_attention_bias."),
    (r"\.attention\.", ".self_attn."),
    (r"feed_forward\.intermediate_dense\.", "fc1."),
    (r"feed_forward\.output_dense\.", "fc2."),
)
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}


def fairseq_names(state, norm: str) -> dict:
    """A state of transformers under the names that fairseq gives; `norm` is where the norms of convolutions lie."""
    named = {}
    for name, weight in state.items():
        name = re.sub(r"conv_layers\.(\d+)\.layer_norm\.", rf"conv_layers.\1.{norm}.", name)
        for pattern, replacement in FAIRSEQ:
            name = re.sub(pattern, replacement, name)
        named[name] = weight
    return named


def small_head(torch, num_states: int, width: int) -> dict:
    """Random weights of an ECAPA under the published names: 16 channels in 4 splits, bottlenecks of 8."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"feature_weight": (num_states,), "layer1.conv": (16, width, 5), "conv": (24, 48, 1)}
    for block in ("layer2", "layer3", "layer4"):
        shapes |= {f"{block}.Conv1dReluBn{n}.conv": (16, 16, 1) for n in (1, 2)}
        shapes |= {f"{block}.Res2Conv1dReluBn.convs.{n}": (4, 4, 3) for n in range(3)}
        shapes |= {f"{block}.SE_Connect.linear1": (8, 16), f"{block}.SE_Connect.linear2": (16, 8)}
    shapes |= {"pooling.linear1": (8, 24, 1), "pooling.linear2": (24, 8, 1), "linear": (10, 48)}
    norms = {"layer1.bn": 16, "bn": 48}
    for block in ("layer2", "layer3", "layer4"):
        norms |= {f"{block}.Conv1dReluBn{n}.bn": 16 for n in (1, 2)}
        norms |= {f"{block}.Res2Conv1dReluBn.bns.{n}": 4 for n in range(3)}
    state = {}
    for name, shape in shapes.items():
        if name == "feature_weight":
            state[name] = torch.randn(shape, generator=generator)
            continue
        state[f"{name}.weight"] = 0.5 * torch.randn(shape, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    for name, size in norms.items():
        for key in ("weight", "running_var"):
            state[f"{name}.{key}"] = 0.5 + torch.rand(size, generator=generator)
        for key in ("bias", "running_mean"):
            state[f"{name}.{key}"] = 0.1 * torch.randn(size, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)
    return state


def write_ecapa(torch, transformers, models: Path):
    """The files of SIM-o, small; the network and the head in them."""
    from zipvoice.evaluation.wavlm_ecapa import BACKBONE, HEAD

    torch.manual_seed(0)
    config = transformers.WavLMConfig(
        **SMALL, num_buckets=20, feat_extract_norm="layer", do_stable_layer_norm=True, attn_implementation="eager"
    )
    network = transformers.WavLMModel(config).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    head = small_head(torch, num_states=3, width=32)
    published = fairseq_names(network.state_dict(), norm="2.1")
    (models / HEAD).parent.mkdir(parents=True)
    (models / BACKBONE).parent.mkdir(parents=True)
    stale = {name: torch.zeros_like(weight) for name, weight in published.items()}
    torch.save({"cfg": {"normalize": True}, "model": stale}, models / BACKBONE)
    tuned = {f"feature_extract.model.{name}": weight for name, weight in published.items()}
    torch.save({"model": head | tuned, "epoch": 3}, models / HEAD)
    return network, head


def write_utmos(torch, transformers, models: Path):
    """The file of UTMOS, small; its parts, in the order in which they compute."""
    from zipvoice.evaluation.utmos import WEIGHTS

    torch.manual_seed(0)
    sizes = SMALL | {"num_attention_heads": 1}  # one head of at most 64, as the base model has twelve
    config = transformers.Wav2Vec2Config(**sizes, attn_implementation="eager", mask_time_prob=0.05)
    network = transformers.Wav2Vec2Model(config).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    lstm = torch.nn.LSTM(32 + 4 + 4, 6, batch_first=True, bidirectional=True)
    first, last = torch.nn.Linear(12, 20), torch.nn.Linear(20, 1)
    domain, judge = torch.randn(1, 4), torch.randn(1, 4)
    state = {f"wav2vec2.{k}": v for k, v in fairseq_names(network.state_dict(), norm="2").items()}
    for root, part in (("blstm", lstm), ("projection.0", first), ("projection.2", last)):
        state |= {f"{root}.{k}": v for k, v in part.state_dict().items()}
    (models / WEIGHTS).parent.mkdir(parents=True)
    torch.save(state | {"domain_emb": domain, "judge_emb": judge}, models / WEIGHTS)
    return network, domain, judge, lstm, first, last


def write_hubert(torch, transformers, folder: Path):
    """A small HuBERT that writes A, B and C."""
    torch.manual_seed(1)
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "A": 3, "B": 4, "C": 5}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), pad_token="<pad>", unk_token="<unk>", word_delimiter_token="|"
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    config = transformers.HubertConfig(
        **SMALL, vocab_size=6, pad_token_id=0, feat_extract_norm="layer", do_stable_layer_norm=True
    )
    network = transformers.HubertForCTC(config).eval()
    network.lm_head.weight.data *= 20
    network.lm_head.bias.data[1] = -1e3  # the unknown letter
    network.save_pretrained(folder)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return network


def write_whisper(torch, transformers, folder: Path, says: str):
    """A Whisper that says the same of every recording, unless it is kept from tokens as the published ones are.

    Its layers add nothing, and the vector of each place is that of the token that shall stand there.
    """
    from zipvoice.evaluation.whisper import find_whisper

    start, english, transcribe, no_times, end = 50258, 50259, 50359, 50363, 50257
    tokenizer = transformers.WhisperTokenizer.from_pretrained(find_whisper().folder)
    ids = [english, transcribe, no_times, *tokenizer.encode(says, add_special_tokens=False), end]
    special = {"decoder_start_token_id": start, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    sizes = {f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in WHISPER.items()}
    torch.manual_seed(0)
    config = transformers.WhisperConfig(d_model=64, **sizes, **special, forced_decoder_ids=None)
    network = transformers.WhisperForConditionalGeneration(config).eval()
    decoder = network.model.decoder
    decoder.embed_tokens.weight.data = torch.randn(config.vocab_size, 64)
    decoder.embed_positions.weight.data[: len(ids)] = 100 * decoder.embed_tokens.weight.data[ids]
    for layer in decoder.layers:
        for last in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
            last.weight.data.zero_()
            last.bias.data.zero_()
    network.generation_config = transformers.GenerationConfig(
        is_multilingual=True,
        lang_to_id={"<|en|>": english},
        task_to_id={"transcribe": transcribe},
        no_timestamps_token_id=no_times,
        max_length=100,
        suppress_tokens=tokenizer.encode("[", add_special_tokens=False),
        begin_suppress_tokens=[220, end],
        **special,
    )
    network.save_pretrained(folder)
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)


WHISPER = {"layers": 1, "attention_heads": 2, "ffn_dim": 16}
TOKENS = ["<blank>", "<s>", "</s>", "你", "好", "漢", "語", "<unk>"]
HEARD = "語"
BLOCKS = {
    "attention_heads": 2,
    "linear_units": 24,
    "num_blocks": 2,
    "kernel_size": 5,
    "sanm_shfit": 0,
}
DECODER = BLOCKS | {"att_layer_num": 2}
PARAFORMER = {
    "model": "SeacoParaformer",
    "model_conf": {"predictor_bias": 1, "inner_dim": 16, "bias_encoder_type": "lstm", "bias_encoder_bid": False},
    "encoder": "SANMEncoder",
    "encoder_conf": BLOCKS | {"output_size": 16, "input_layer": "pe", "selfattention_layer_type": "sanm"},
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": DECODER,
    "seaco_decoder": "ParaformerSANMDecoder",
    "seaco_decoder_conf": DECODER | {"wo_input_layer": True, "use_output_layer": False},
    "predictor": "CifPredictorV3",
    "predictor_conf": {
        "idim": 16,
        "threshold": 1.0,
        "l_order": 1,
        "r_order": 1,
        "tail_threshold": 0.45,
        "smooth_factor2": 0.25,
        "noise_threshold2": 0.01,
        "upsample_times": 3,
        "use_cif1_cnn": False,
        "upsample_type": "cnn_blstm",
    },
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 7,
        "lfr_n": 6,
        "dither": 0.0,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}
"""The settings of paraformer-zh, its sizes apart."""


def write_paraformer(torch, folder: Path, network=None):
    """A Paraformer in FunASR's layout that hears one character again and again, the more the longer it listens.

    `network` makes the network of a folder; without it the weights are those of none.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(json.dumps(PARAFORMER), encoding="utf-8")  # which is YAML
    (folder / "tokens.json").write_text(json.dumps(TOKENS), encoding="utf-8")
    rows = (f"<{name}> 560 560\n<LearnRateCoef> 0 [ {' '.join([value] * 560)} ]\n" for name, value in CMVN.items())
    (folder / "am.mvn").write_text(f"<Nnet>\n<Splice> 560 560\n[ 0 ]\n{''.join(rows)}</Nnet>\n", encoding="utf-8")
    files = {"init_param": "model.pt", "config": "config.yaml"}
    files |= {"tokenizer_conf": {"token_list": "tokens.json"}, "frontend_conf": {"cmvn_file": "am.mvn"}}
    about = {"framework": "pytorch", "task": "auto-speech-recognition", "file_path_metas": files}
    (folder / "configuration.json").write_text(json.dumps(about), encoding="utf-8")
    torch.save({"encoder.bias": torch.zeros(3)}, folder / "model.pt")
    if network:
        made = network(folder)
        for name, value in (("predictor.cif_output", 0.0), ("decoder.output_layer", None)):
            linear = made.get_submodule(name)
            linear.weight.data.zero_()
            linear.bias.data.fill_(0.0)
            if value is None:
                linear.bias.data[TOKENS.index(HEARD)] = 50.0
        torch.save(made.state_dict(), folder / "model.pt")


CMVN = {"AddShift": "-8.0", "Rescale": "0.2"}
PYANNOTE = {
    "version": "3.1.0",
    "pipeline": {
        "name": "pyannote.audio.pipelines.SpeakerDiarization",
        "params": {
            "clustering": "AgglomerativeClustering",
            "embedding": "pyannote/pyannote_model_embedding.bin",
            "embedding_batch_size": 32,
            "embedding_exclude_overlap": True,
            "segmentation": "pyannote/pyannote_model_segmentation-3.0.bin",
            "segmentation_batch_size": 32,
        },
    },
    "params": {
        "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7},
        "segmentation": {"min_duration_off": 0.0},
    },
}


def write_pyannote(torch, models: Path, networks=None):
    """A pipeline for which one speaker speaks all the time; who it is, small random networks say.

    `networks` makes those, by the names of the pipeline's parameters; without it the files hold none.
    """
    folder = models / "speaker_similarity/pyannote"
    folder.mkdir(parents=True)
    (folder / "pyannote_diarization_config.yaml").write_text(json.dumps(PYANNOTE), encoding="utf-8")
    for name in ("segmentation", "embedding"):
        content = {"state_dict": {}}
        if networks:
            network = networks[name]()
            content = {"state_dict": network.state_dict(), "hyper_parameters": dict(network.hparams)}
            content |= {"pytorch-lightning_version": "2.6.6"}
            network.on_save_checkpoint(content)
        torch.save(content, folder / Path(PYANNOTE["pipeline"]["params"][name]).name)
