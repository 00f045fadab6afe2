# SPDX-License-Identifier: Apache-2.0
"""Weight files that others made, and damaged ones: they load as they are meant, or an error names file and reason."""

import io
import pathlib
import pickle
import random
import zipfile

import pytest
import torch

from zipvoice.pretrained import RELEASED, published_tokenizer
from zipvoice.training import checkpoint
from zipvoice.weights import check_fit, check_sizes, read_torch_file, read_weights, shapes, write_weights

WEIGHTS = {"embed.weight": torch.arange(6.0).view(3, 2), "head.bias": torch.ones(2), "head.count": torch.tensor(3)}


def same(found):
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def prefixed(prefix):
    return {prefix + name: value for name, value in WEIGHTS.items()}


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS, "optimizer": {}},
        {"state_dict": WEIGHTS},
        {"model_state_dict": WEIGHTS, "epoch": 3},
        {"state_dict": prefixed("model."), "pytorch-lightning_version": "2.0", "hyper_parameters": {"lr": 0.1}},
        {"model": {"state_dict": WEIGHTS}},
        {"model": prefixed("module.")},
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        {name.replace(".", "._orig_mod."): value for name, value in WEIGHTS.items()},
        {f"{'_orig_mod.' * name.startswith('head')}{name}": value for name, value in WEIGHTS.items()},
        {f"{'module.' * name.startswith('head')}{name}": value for name, value in WEIGHTS.items()},
    ],
)
def test_weights_of_other_training_programs_load(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    assert same(read_weights(tmp_path / "model.pt"))


def test_an_unknown_prefix_is_named(tmp_path):
    torch.save(prefixed("student.net."), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt does not fit .* names begin with 'student\.net\.': store"):
        check_fit(read_weights(tmp_path / "model.pt"), shapes(WEIGHTS), str(tmp_path / "model.pt"))


def test_names_that_would_become_one_are_refused(tmp_path):
    torch.save({**WEIGHTS, "module.head.bias": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt has weights of the same name with and without a prefix"):
        read_weights(tmp_path / "model.pt")


ODD_TENSORS = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "one that stands for many": lambda: torch.zeros(1).expand(10**9),
    "meta": lambda: torch.zeros(3, device="meta"),
}


@pytest.mark.parametrize("kind", ODD_TENSORS)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path, kind):
    torch.save({"head.bias": torch.ones(2), "odd": ODD_TENSORS[kind]()}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt.* ('odd' is not a named dense tensor|is damaged or)"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [[1, 2], {"a": {"b": torch.ones(1)}}, {3: torch.ones(1)}, {}, None, 7, "text"])
@pytest.mark.parametrize("old_format", [False, True])
def test_files_without_named_tensors_are_named(tmp_path, content, old_format):
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match=r"model\.pt"):
        read_weights(tmp_path / "model.pt")


# ---------------------------------------------------------------- paths


def as_spelled(path, name):
    """A checkpoint whose path, of a reference run, is spelled as another version of Python does."""
    content = io.BytesIO()
    torch.save({"model": WEIGHTS, "exp_dir": pathlib.PurePosixPath("exp/zipvoice")}, content)
    with zipfile.ZipFile(content) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith("data.pkl"):
                for own in (b"cpathlib\nPurePosixPath\n", b"cpathlib._local\nPurePosixPath\n"):
                    data = data.replace(own, b"c" + name.encode().replace(b" ", b"\n") + b"\n")
            target.writestr(item, data)


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
@pytest.mark.parametrize("kind", ["PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"])
def test_checkpoints_with_a_path_inside_load_whichever_python_wrote_them(tmp_path, module, kind):
    as_spelled(tmp_path / "checkpoint-1.pt", f"{module} {kind}")
    assert f"{module}\n{kind}".encode() in (tmp_path / "checkpoint-1.pt").read_bytes()
    state = checkpoint.load(tmp_path / "checkpoint-1.pt")
    assert same(state["model"]) and str(state["exp_dir"]).replace("\\", "/") == "exp/zipvoice"


def test_other_things_of_that_module_stay_refused(tmp_path):
    as_spelled(tmp_path / "model.pt", "pathlib._local _PathParents")
    with pytest.raises(ValueError, match="holds Python objects beside tensors"):
        read_torch_file(tmp_path / "model.pt")


# ---------------------------------------------------------------- damage


def flips(data, number, seed=0):
    """The data with one bit flipped, at places drawn at random, in the middle of the numbers most of the time."""
    draw = random.Random(seed)
    for _ in range(number):
        place = draw.randrange(len(data))
        yield data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def unnoticed(path, number, read):
    """How many of so many flipped bits change what is read without an error that names the file."""
    whole, changed = path.read_bytes(), 0
    expected = read(path)
    for damaged in flips(whole, number):
        path.write_bytes(damaged)
        try:
            found = read(path)
        except ValueError as error:
            assert str(path) in str(error), error
        else:
            changed += not (
                found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
            )
    path.write_bytes(whole)
    return changed


@pytest.mark.parametrize("number", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_no_flipped_bit_changes_weights_without_a_word(tmp_path, number):
    weights = {"a.weight": torch.randn(40, 50), "a.bias": torch.zeros(50), "n": torch.tensor(3)}
    write_weights(weights, tmp_path / "model.safetensors")
    checkpoint.save(tmp_path, 1, {"model": weights, "step": 1})
    assert unnoticed(tmp_path / "model.safetensors", number, read_weights) == 0
    assert unnoticed(tmp_path / "checkpoint-1.pt", number, lambda path: checkpoint.load(path)["model"]) == 0


def test_weights_without_a_sum_load_and_the_same_weights_give_the_same_bytes(tmp_path):
    from safetensors.torch import save_file

    save_file(WEIGHTS, tmp_path / "old.safetensors")
    assert same(read_weights(tmp_path / "old.safetensors"))
    contents = set()
    for _ in range(6):
        write_weights(WEIGHTS, tmp_path / "new.safetensors")
        contents.add((tmp_path / "new.safetensors").read_bytes())
    assert len(contents) == 1 and same(read_weights(tmp_path / "new.safetensors"))


def test_checkpoints_without_sums_load(tmp_path):
    kept = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"model": WEIGHTS}, tmp_path / "model.pt")
    finally:
        torch.serialization.set_crc32_options(kept)
    assert same(read_weights(tmp_path / "model.pt"))


def test_a_flipped_bit_in_the_newest_checkpoint_makes_the_one_before_it_the_newest(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"model": {"a": torch.full((500,), float(step))}, "step": step})
    path = tmp_path / "checkpoint-2.pt"
    data = bytearray(path.read_bytes())
    data[data.find(torch.full((500,), 2.0).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(data)
    found, state = checkpoint.newest(tmp_path)
    assert found.name == "checkpoint-1.pt" and state["step"] == 1
    assert (tmp_path / "checkpoint-2.pt.damaged").exists()


def odd_file(draw):
    """What may be called model.pt: torch files of both formats with some bytes changed, and other pickles."""
    content = io.BytesIO()
    kinds = ({"model": WEIGHTS}, {"model": {"a": [1, {"b": torch.ones(3)}]}}, WEIGHTS, {"model": {"s": torch.eye(3)}})
    torch.save(draw.choice(kinds), content, _use_new_zipfile_serialization=draw.random() < 0.5)
    data = bytearray(content.getvalue())
    how = draw.choice(["bytes", "bytes", "cut", "pickle", "noise"])
    if how == "bytes":
        for _ in range(draw.choice([1, 3, 30])):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif how == "cut":
        del data[draw.randrange(len(data)) :]
    elif how == "noise":
        data = bytearray(draw.randbytes(draw.randrange(400)))
    else:
        data = bytearray(pickle.dumps(draw.choice([WEIGHTS, {"model": [None, {}, 3]}]), draw.randrange(5)))
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_odd_files_load_or_are_named(tmp_path, number):
    draw, refused = random.Random(1), 0
    for _ in range(number):
        (tmp_path / "model.pt").write_bytes(odd_file(draw))
        try:
            read_weights(tmp_path / "model.pt")
        except ValueError as error:
            assert str(error).startswith(str(tmp_path / "model.pt")), error
            refused += 1
    assert refused > number / 2


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_layers": 4, "dim": 10**6}, r"model\.pt does not fit the model: dim is to be 1000000, far too large"),
        ({"num_layers": [2, 10**5], "dim": 4}, "num_layers is to be 100000, far"),
        ({"num_layers": 4, "dim": 0}, "dim is to be 0, which is not above 0"),
        ({"num_layers": -1, "dim": 4}, "num_layers is to be -1"),
        ({"num_layers": 1, "dim": 10**40}, "dim is to be 1000"),
    ],
)
def test_sizes_far_beyond_the_weights_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        check_sizes(sizes, WEIGHTS, "model.pt")
    check_sizes({"num_layers": [1, 1], "dim": 4, "name": "x", "rates": [0.5]}, WEIGHTS, "model.pt")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 8192, "num_layers": 1}, None),
        ({"dim": 1, "num_layers": 0}, None),
        ({"dim": 0}, "dim is to be 0, which is not above 0"),
        ({"dim": [4, 0]}, "dim is to be 0, which is not above 0"),
        ({"dim": 4, "num_layers": -1}, "num_layers is to be -1, which is not above 0"),
        ({"dim": 4, "num_layers": 2}, None),
        ({"dim": 4, "num_layers": [1, 2]}, "is to be 4, far too large"),  # more than there are weights
        ({"dim": 64 * 8192}, None),
        ({"dim": 64 * 8192 + 1}, "dim is to be 524289, far too large"),
        ({"dim": 5790, "more": 5790}, None),
        ({"dim": 5800, "more": 5800}, "more is to be 5800, far too large"),  # 8 times the weights, and 2^25
        ({"kind": "a", "on": True}, None),
    ],
)
def test_sizes_fit_their_weights(sizes, message):
    state = {"w": torch.zeros(1, 8192), "b": torch.zeros(3)}
    if message is None:
        check_sizes(sizes, state, "a.pt")
    else:
        with pytest.raises(ValueError, match=f"a.pt does not fit the model: .*{message}"):
            check_sizes(sizes, state, "a.pt")


def test_weights_are_in_files_of_known_kinds(tmp_path):
    with pytest.raises(ValueError, match=r"a\.onnx: weights are read from \.safetensors and \.pt files"):
        read_weights(tmp_path / "a.onnx")


def test_the_released_models_have_their_tokenizers():
    found = [published_tokenizer(variant).type for variant in RELEASED]
    assert dict(zip(RELEASED, found, strict=True)) == {
        "zipvoice": "emilia",
        "zipvoice_distill": "emilia",
        "zipvoice_dialog": "dialog",
        "zipvoice_dialog_stereo": "dialog",
    }
