"""What we use of picamera2 is in the real one: our source, its page of types and the stand-in of
the tests are all compared with the source that picamera2's makers publish."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from picamera2_reference import (
    Klass,
    Signature,
    chain_of,
    classes_of,
    decorators,
    find_method,
    lineage,
    real_classes,
    real_trees,
    reference_folder,
    signature_of,
)
from picamera2_usage import API, Override, Use, constants, our_trees, our_use

FAKE = Path(__file__).parent / "fake_picamera2/picamera2"
PROTOCOLS = {klass.name: klass for klass in classes_of(ast.parse(API.read_text()))}
USES = sorted(
    (use for use in our_use().uses if use.of in PROTOCOLS),
    key=lambda use: (use.of, use.member, use.arguments, use.keywords),
)
# H264Encoder is one of two classes, as the board has it; what we say of it must hold for both.
REAL_NAMES = {"H264Encoder": ("H264Encoder", "LibavH264Encoder")}
# Names of libcamera's own (its control_ids_core.yaml) that picamera2 has no reason to mention.
ONLY_LIBCAMERAS = {
    "AeMeteringMode", "AfWindows", "AwbMode", "ColourCorrectionMatrix", "ColourGains",
    "ExposureValue",
}  # fmt: skip
CONTROL_NAME = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)+")


def real_names(name: str) -> tuple[str, ...]:
    return REAL_NAMES.get(name, (name,))


def real_signature(name: str, member: str) -> Signature:
    method = find_method(real_classes(), name, member)
    assert method is not None, f"{name} has no method {member}"
    return signature_of(method)


def has_attribute(classes: dict[str, Klass], name: str, member: str) -> bool:
    return any(
        member in klass.attributes | klass.methods.keys() for klass in lineage(classes, name)
    )


# -- our source against the real one --------------------------------------------------------------


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.of}.{use.member}")
def test_use_is_possible_with_the_real_one(use: Use) -> None:
    for name in real_names(use.of):
        assert name in real_classes(), f"{use.where}: there is no class {name}"
        if use.arguments < 0:
            assert has_attribute(real_classes(), name, use.member), f"{use.where}: {use}"
            continue
        signature = real_signature(name, use.member)
        assert use.arguments <= len(signature.positional), use
        given = {argument.name for argument in signature.positional[: use.arguments]}
        for keyword in use.keywords:
            assert keyword in signature.arguments, f"{use.where}: {name}.{use.member}({keyword}=)"
            assert keyword not in given, f"{use.where}: {keyword} is given twice"
        for argument in signature.arguments.values():
            is_given = argument.name in given or argument.name in use.keywords
            assert is_given or argument.default is not None, f"{use.where}: {argument} is missing"


def test_use_is_found_at_all() -> None:
    """The reading of our source has not gone blind: everything on the page of types is used."""
    for klass in PROTOCOLS.values():
        used = {use.member for use in USES if use.of in {klass.name, *children(klass.name)}}
        used |= {override.method.name for override in our_use().overrides}
        for member in klass.methods.keys() | klass.attributes:
            assert member in used | {"__init__"}, f"{klass.name}.{member} is not used any more"


def children(name: str) -> set[str]:
    return {klass.name for klass in PROTOCOLS.values() if name in klass.bases}


@pytest.mark.parametrize("override", our_use().overrides, ids=lambda each: each.method.name)
def test_override_is_called_as_we_expect(override: Override) -> None:
    real, ours = real_signature(override.of, override.method.name), signature_of(override.method)
    assert ours == real


def test_outputs_are_called_as_they_are_declared() -> None:
    """Encoder.outputframe hands on all arguments by place."""
    method = find_method(real_classes(), "Encoder", "outputframe")
    assert method is not None
    calls = [node for node in ast.walk(method) if isinstance(node, ast.Call)]
    (call,) = [c for c in calls if chain_of(c.func)[-1:] == ("outputframe",)]
    names = [ast.unparse(value) for value in call.args]
    assert names == [a.name for a in real_signature("Output", "outputframe").positional]


def test_modules_and_what_is_taken_from_them_exist() -> None:
    tree = our_trees()["system.py"]
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=local)],
                value=ast.Call(
                    func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=v)]
                ),
            ):
                imported[local] = str(v)
    assert set(imported.values()) == {
        "libcamera", "picamera2", "picamera2.encoders", "picamera2.outputs",
    }  # fmt: skip
    taken = 0
    for node in ast.walk(tree):
        chain = chain_of(node) if isinstance(node, ast.Attribute) else ()
        if len(chain) == 2 and imported.get(chain[0], "libcamera") != "libcamera":
            assert chain[1] in bound_names(real_trees()[imported[chain[0]]]), chain
            taken += 1
    assert taken == 5


def bound_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
    return names


def test_nothing_else_imports_picamera2_or_libcamera() -> None:
    for name, tree in our_trees().items():
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(n.split(".")[0] in {"picamera2", "libcamera"} for n in names), name


def test_what_we_take_of_libcamera_is_what_picamera2_takes() -> None:
    assert {("Transform",), ("ColorSpace", "Rec709"), ("controls",)} <= our_use().libcamera
    theirs = {chain for tree in real_trees().values() for chain in libcamera_chains(tree)}
    for chain in our_use().libcamera - {()}:
        assert any(known[: len(chain)] == chain for known in theirs), chain
    assert any(known[:2] == ("controls", "draft") for known in theirs)
    assert any(part.endswith("ModeEnum") for known in theirs for part in known)
    keywords = {
        keyword.arg
        for tree in real_trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and chain_of(node.func)[-1:] == ("Transform",)
        for keyword in node.keywords
    }
    assert {"hflip", "vflip"} <= keywords


def libcamera_chains(tree: ast.Module) -> set[tuple[str, ...]]:
    """`libcamera.a.b` and, of names that were imported from it, `a.b`, both as (a, b)."""
    local = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "libcamera"
        for alias in node.names
    }
    chains = {chain_of(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names = {(n.id,) for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return {chain[1:] for chain in chains if chain[:1] == ("libcamera",)} | {
        (local[chain[0]], *chain[1:]) for chain in chains | names if chain and chain[0] in local
    }


def test_control_names_are_libcameras() -> None:
    ours = {
        word
        for name in ("controls.py", "pictures.py")
        for word in constants(our_trees()[name])
        if CONTROL_NAME.fullmatch(word)
    }
    assert {"FrameDurationLimits", "ExposureTime", "SensorTimestamp"} <= ours
    theirs: set[str] = set()
    for tree in real_trees().values():
        theirs |= constants(tree)
        theirs |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert ours - theirs == ONLY_LIBCAMERAS


def test_keys_of_configurations_and_cameras_are_the_real_ones() -> None:
    tree = our_trees()["camera.py"]
    keys: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=ast.Constant(value=str(key))):
                keys.add(key)
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(key)), *_]):
                keys.add(key)
    info = real_classes()["GlobalCameraInfo"].attributes
    (fields,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(real_trees()["picamera2.configuration"])
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "_ALLOWED_FIELDS"
        and "stride" in ast.unparse(node.value)
    ]
    assert {"Id", "Model", "size", "stride"} <= keys
    assert keys <= info | set(fields)


# -- what we rely on besides names ----------------------------------------------------------------


def source_of(name: str, method: str) -> str:
    found = find_method(real_classes(), name, method)
    assert found is not None
    return ast.unparse(found)


def test_callback_runs_before_encoders() -> None:
    text = source_of("Picamera2", "process_requests")
    assert (
        0 < text.index("self.pre_callback(req)") < text.index("encoder.encode(encoder.name, req)")
    )


def test_callback_that_raises_ends_the_cameras_thread() -> None:
    """Which is why ours never does; NullPreview's loop has no handler of its own."""
    tree = ast.parse((reference_folder() / "previews/null_preview.py").read_text())
    (klass,) = classes_of(tree)
    handler = ast.unparse(klass.methods["handle_request"])
    loop = ast.unparse(klass.methods["thread_func"])
    assert handler.rstrip().endswith("raise")
    assert "try" not in loop


def test_times_count_from_the_first_picture_in_microseconds_of_the_sensor() -> None:
    text = source_of("Encoder", "_timestamp")
    assert "metadata[controls.SensorTimestamp] / 1000" in text
    assert "self.firsttimestamp = ts" in text
    assert "timestamp_us = ts - self.firsttimestamp" in text


def test_both_encoders_know_our_format_and_profile() -> None:
    from appliance.capture.picamera.camera import FORMAT
    from appliance.capture.picamera.encoding import PROFILE

    assert f"'{FORMAT}'" in source_of("V4L2Encoder", "_v4l2_format")
    assert f"'{FORMAT}'" in source_of("LibavH264Encoder", "_start")
    assert f"'{PROFILE}'" in source_of("H264Encoder", "_start")
    assert "available_profile.lower()" in source_of("LibavH264Encoder", "_start")  # libav: "High"


def test_hardware_is_told_by_the_encoders_name() -> None:
    """`has_hardware_encoder` compares the two names; elsewhere they are one class."""
    text = ast.unparse(real_trees()["picamera2.encoders"])
    assert "from .libav_h264_encoder import LibavH264Encoder as H264Encoder" in text
    assert "from .h264_encoder import H264Encoder" in text


def test_forced_keyframes_of_libav_are_what_new_libraries_refuse() -> None:
    """Should picamera2 mend this, our detour in encoding.py can go."""
    assert "frame.pict_type = 'I'" in source_of("LibavH264Encoder", "_encode")


def test_planes_lie_one_after_the_other() -> None:
    """As pictures.py has it: chroma rows are half as long as luma's, padding included."""
    text = source_of("CompletedRequest", "save")
    assert "m.array.strides[0] // 2" in text
    assert "U = reshaped[2 * height:2 * height + height // 2, :width // 2]" in text


def test_closing_is_left_to_the_end_of_the_process() -> None:
    assert "atexit.register(self.close)" in source_of("Picamera2", "__init__")


# -- the page of types ----------------------------------------------------------------------------


@pytest.mark.parametrize("klass", PROTOCOLS.values(), ids=lambda klass: klass.name)
def test_type_says_of_the_real_class_what_is_so(klass: Klass) -> None:
    for name in real_names(klass.name):
        for method in klass.methods.values():
            real = find_method(real_classes(), name, method.name)
            assert real is not None, f"{name}.{method.name}"
            for kind in ("property", "staticmethod"):
                assert (kind in decorators(method)) == (kind in decorators(real)), method.name
            compare(signature_of(method), signature_of(real), f"{name}.{method.name}")
        for attribute in klass.attributes:
            assert has_attribute(real_classes(), name, attribute), f"{name}.{attribute}"


def compare(ours: Signature, real: Signature, where: str) -> None:
    """Whatever is called as ours says can be called so."""
    places = [argument.name for argument in real.positional]
    assert [argument.name for argument in ours.positional] == places[: len(ours.positional)], where
    for argument in ours.arguments.values():
        assert argument.name in real.arguments, f"{where}({argument.name})"
        default = real.arguments[argument.name].default
        if argument.default == "...":
            assert default is not None, f"{where}({argument.name})"
        elif argument.default is not None:
            assert argument.default == default, f"{where}({argument.name})"
    for name in real.arguments.keys() - ours.arguments.keys():
        assert real.arguments[name].default is not None, f"{where}: {name} must be given"


# -- the stand-in ---------------------------------------------------------------------------------

FAKES = {
    klass.name: klass
    for path in FAKE.rglob("*.py")
    if path.name != "stage.py"
    for klass in classes_of(ast.parse(path.read_text()))
}


@pytest.mark.parametrize("klass", FAKES.values(), ids=lambda klass: klass.name)
def test_stand_in_has_the_real_signatures(klass: Klass) -> None:
    real = real_classes()[klass.name]
    assert [base for base in klass.bases if base in FAKES] == [
        base for base in real.bases if base in FAKES
    ]
    for method in klass.methods.values():
        if method.name.startswith("_") and method.name != "__init__":
            continue
        original = find_method(real_classes(), klass.name, method.name)
        assert original is not None, f"{klass.name}.{method.name}"
        ours, theirs = signature_of(method), signature_of(original)
        for argument in theirs.arguments.values():  # libcamera's classes have two names there
            if argument.default is not None:
                argument.default = argument.default.replace("libcamera.", "")
        assert ours == theirs, f"{klass.name}.{method.name}"


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.of}.{use.member}")
def test_stand_in_has_what_we_use(use: Use) -> None:
    for name in real_names(use.of):
        assert has_attribute(FAKES, name, use.member), f"{name}.{use.member}"
