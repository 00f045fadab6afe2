# SPDX-License-Identifier: Apache-2.0
"""Training runs of a very small model on six recordings, for tests of whole runs."""

from dataclasses import replace
from pathlib import Path

from zipvoice.config.data import DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.model import ModelConfig
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import OptimizerConfig, RunConfig
from zipvoice.data.prepare import prepare
from zipvoice.text.token_table import TokenTable

CORPUS = Path(__file__).parent / "data" / "corpus"
LETTERS = ("_", *sorted(set(" ',.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")))
SIZES = ModelConfig(
    fm_decoder_downsampling_factor=(1, 2, 1),
    fm_decoder_num_layers=(1, 1, 1),
    fm_decoder_cnn_module_kernel=(5, 3, 5),
    fm_decoder_feedforward_dim=16,
    fm_decoder_num_heads=2,
    fm_decoder_dim=16,
    text_encoder_num_layers=1,
    text_encoder_feedforward_dim=16,
    text_encoder_cnn_module_kernel=3,
    text_encoder_num_heads=2,
    text_encoder_dim=16,
    time_embed_dim=16,
    text_embed_dim=8,
    query_head_dim=4,
    value_head_dim=4,
    pos_head_dim=2,
    pos_dim=8,
)


def make_corpus(folder):
    """Write a manifest with features and token tables of the recordings."""
    TokenTable(LETTERS).write(folder / "tokens.txt")
    TokenTable((*LETTERS, "[S1]", "[S2]")).write(folder / "dialog_tokens.txt")
    prepare(PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), features=True, storage="numpy_files"))


def run_config(corpus, exp_dir, **changes):
    manifests = (ManifestConfig(str(next(corpus.glob("*_cuts_*.jsonl.gz")))),)
    config = RunConfig(
        exp_dir=str(exp_dir),
        model=SIZES,
        tokenizer=TokenizerConfig("simple"),
        tokens=str(corpus / "tokens.txt"),
        data=DataConfig(train=manifests, dev=manifests, max_duration=3.0, min_len=0.1, num_workers=0),
        optim=OptimizerConfig(lr_hours=None),
        num_steps=6,
        precision="fp32",
        average_period=1,
        log_every=1,
        valid_every=3,
        save_every=2,
        keep_last=2,
        device="cpu",
    )
    return replace(config, **changes)
