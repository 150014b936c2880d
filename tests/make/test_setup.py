"""make/setup.sh and the Makefile in a bare folder, with stand-ins for what would change the machine
or need a network; tests/fresh/ does it all for real in a clean Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = r"""#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
"-c import sys; sys.exit("*) exit "${OLD_PYTHON:-0}" ;;
"-c import sys; print("*) echo "/usr 3.11" ;;
"-c import venv"*) [ -z "${NO_VENV:-}" ] || [ -e "$CALLS.venv" ] ;;
"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
"-m pip install"*)
    [ -z "${PIP_SAYS:-}" ] || { echo "$PIP_SAYS"; exit 1; }
    printf '#!/bin/sh\nfor word; do echo "<$word>"; done\n' >.venv/bin/porthole
    chmod +x .venv/bin/porthole ;;
"-m pip download"*)
    for folder; do :; done
    mkdir picamera2-0 && echo "source" >picamera2-0/setup.cfg
    tar -czf "$folder/picamera2-0.tar.gz" picamera2-0 && rm -r picamera2-0 ;;
esac
"""
APT_GET = (
    '#!/bin/sh\necho "apt-get $*" >>"$CALLS"\ncase "$*" in *python3-venv*) >"$CALLS.venv";; esac\n'
)
VENDOR = '#!/bin/sh\necho "vendor" >>"$CALLS"\nmkdir -p appliance/web/vendor\n'


class Machine:
    """A folder with the repository's make files and a PATH whose first stop is ours."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "clone"
        self.bin = folder / "bin"
        self.calls_path = folder / "calls"
        self.bin.mkdir()
        shutil.copytree(ROOT / "make", self.root / "make")
        shutil.copy(ROOT / "Makefile", self.root)
        shutil.copy(ROOT / "pyproject.toml", self.root)
        web = self.root / "appliance/web"
        web.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            (web / name).write_text("{}")
        self.put(web / "vendor.sh", VENDOR)
        for tool, text in {
            "python3": PYTHON,
            "npm": "#!/bin/sh\n",
            "apt-get": APT_GET,
            "dpkg-query": "#!/bin/sh\necho installed\n",
            "sudo": "#!/bin/sh\nexit 1\n",
            "id": "#!/bin/sh\necho 1000\n",
        }.items():
            self.put(self.bin / tool, text)

    def put(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def be_root(self) -> None:
        self.put(self.bin / "id", "#!/bin/sh\necho 0\n")

    def without(self, tool: str) -> None:
        """Nothing of this name is found: PATH is ours and links to what the scripts use else."""
        (self.bin / tool).unlink(missing_ok=True)
        for folder in ("/usr/bin", "/bin"):
            for path in Path(folder).iterdir():
                link = self.bin / path.name
                if path.name != tool and not link.exists() and not link.is_symlink():
                    link.symlink_to(path)

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls_path.write_text("")
        path = str(self.bin)
        if not (self.bin / "sh").exists():
            path += ":/usr/bin:/bin"
        return subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.root,
            env={"PATH": path, "CALLS": str(self.calls_path), "LC_ALL": "C.UTF-8", **environment},
            capture_output=True,
            text=True,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_path.read_text().splitlines()

    def called(self, start: str) -> bool:
        return any(call.startswith(start) for call in self.calls)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_setup_on_a_new_machine_installs_then_never_again(machine: Machine) -> None:
    first = machine.make("setup")
    assert first.returncode == 0, first.stderr
    assert machine.called("python -m pip install") and machine.called("vendor")
    assert "Python: porthole[capture]" in first.stdout
    second = machine.make("setup")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert not machine.called("python -m") and not machine.called("vendor")


def test_setup_after_a_change_of_dependencies_installs_only_them(machine: Machine) -> None:
    machine.make("setup")
    with (machine.root / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    machine.make("setup")
    assert machine.called("python -m pip install")
    assert not machine.called("python -m venv") and not machine.called("vendor")


def test_setup_of_a_moved_folder_makes_the_environment_again(machine: Machine) -> None:
    machine.make("setup")
    machine.root = machine.root.rename(machine.root.with_name("elsewhere"))
    machine.make("setup")
    assert machine.called("python -m venv --clear")


def test_setup_interrupted_in_pip_goes_on_the_next_time(machine: Machine) -> None:
    assert machine.make("setup", PIP_SAYS="something").returncode != 0
    done = machine.make("setup")
    assert done.returncode == 0, done.stderr
    assert (machine.root / ".venv/bin/porthole").exists()


def test_setup_without_network_says_what_to_do(machine: Machine) -> None:
    done = machine.make("setup", PIP_SAYS="Temporary failure in name resolution")
    assert done.returncode != 0
    assert "The Python packages could not be downloaded" in done.stderr
    assert "Is there a network" in done.stderr


def test_setup_with_another_fault_shows_the_end_of_the_log(machine: Machine) -> None:
    done = machine.make("setup", PIP_SAYS="error: the moon is full")
    assert "the moon is full" in done.stderr
    assert "build/setup.log" in done.stderr


def test_setup_with_an_old_python_names_the_right_one(machine: Machine) -> None:
    done = machine.make("setup", OLD_PYTHON="1", PYTHON="python3")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr


def test_setup_without_venv_names_the_command_for_root(machine: Machine) -> None:
    done = machine.make("setup", NO_VENV="1")
    assert done.returncode != 0
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends python3-venv" in (
        done.stderr
    )
    assert not machine.called("apt-get")


def test_setup_without_venv_installs_it_as_root(machine: Machine) -> None:
    machine.be_root()
    done = machine.make("setup", NO_VENV="1")
    assert done.returncode == 0, done.stderr
    assert "apt-get -q install -y --no-install-recommends python3-venv" in machine.calls


def test_setup_with_passwordless_sudo_installs_through_it(machine: Machine) -> None:
    machine.put(machine.bin / "sudo", '#!/bin/sh\necho "sudo $*" >>"$CALLS"\nshift\nexec "$@"\n')
    done = machine.make("setup", NO_VENV="1")
    assert done.returncode == 0, done.stderr
    assert machine.called("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -q install")


def test_setup_without_npm_goes_on_and_says_what_is_lost(machine: Machine) -> None:
    machine.without("npm")
    done = machine.make("setup")
    assert done.returncode == 0, done.stderr
    assert "npm is missing" in done.stdout
    assert "play HLS by themselves" in done.stdout


def test_test_without_npm_stops(machine: Machine) -> None:
    machine.without("npm")
    done = machine.make("test")
    assert done.returncode != 0
    assert "the tests need the pages' JavaScript" in done.stderr


def test_test_with_missing_debian_packages_names_all_of_them(machine: Machine) -> None:
    machine.put(
        machine.bin / "dpkg-query",
        '#!/bin/sh\ncase "$*" in *ffmpeg|*chromium) exit 1;; esac\necho installed\n',
    )
    done = machine.make("test")
    assert done.returncode != 0
    assert "install --no-install-recommends ffmpeg chromium\n" in done.stderr


def test_test_unpacks_the_source_that_it_compares_with_once(machine: Machine) -> None:
    machine.make("test")  # which then finds no tests
    unpacked = machine.root / ".venv/picamera2-source"
    assert (unpacked / "setup.cfg").read_text() == "source\n"
    assert machine.called("python -m pip download")
    machine.make("test")
    assert not machine.called("python -m pip download")
    (machine.root / "make/picamera2.txt").write_text("picamera2==0.3.39")
    machine.make("test")
    assert machine.called("python -m pip download")


def test_test_runs_all_at_once_and_what_was_picked_as_it_was_said(machine: Machine) -> None:
    machine.make("test")
    at_once = 2 * len(os.sched_getaffinity(0))
    assert [call for call in machine.calls if f"-m pytest -n {at_once} --maxprocesses" in call]
    machine.make("test", "ARGS=-k hls -s")
    assert "python -m pytest -k hls -s" in machine.calls


def test_run_hands_its_variables_over_unharmed(machine: Machine) -> None:
    machine.make("setup")
    done = machine.make(
        "run", "SOURCE=file:/a b/$$(id)';.mp4", "CONF=my file.toml", "SET=a.b=c d.e=f"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        "<run>",
        "<-c>",
        "<my file.toml>",
        "<--source>",
        "<file:/a b/$(id)';.mp4>",
        "<--set>",
        "<a.b=c>",
        "<--set>",
        "<d.e=f>",
    ]


def test_run_with_rtsp_shows_that_camera(machine: Machine) -> None:
    machine.make("setup")
    done = machine.make("run", "RTSP=rtsp://u:p$$(id)'@camera/x?a=1&b=2")
    assert done.stdout == "<run>\n<--source>\n<rtsp://u:p$(id)'@camera/x?a=1&b=2>\n"


def test_run_without_variables_takes_the_defaults(machine: Machine) -> None:
    machine.make("setup")
    assert machine.make("run").stdout == "<run>\n"


def test_help_lists_every_target(machine: Machine) -> None:
    told = machine.make("help").stdout
    for target in ("setup", "run", "test", "check", "bench", "test-fresh", "arm", "clean"):
        assert f"make {target} " in told, target


def test_ci_runs_what_check_runs() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make check" in (ROOT / ".ci/run").read_text()
