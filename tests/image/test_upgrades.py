"""What an upgrade may do to a node: restart nothing that calls need, and bring no driver of another archive."""

import subprocess
from pathlib import Path

import pytest

from tests.support.units import IMAGE, UNITS

FILES = IMAGE / "provision/files/etc"
_NEEDRESTART = r"""
# As needrestart reads its own file and then each of conf.d; of its own, what matters here.
our %nrconf = (restart => $ARGV[1], override_rc => {qr(^dbus) => 0, qr(^systemd-logind) => 0});
my $file = $ARGV[0];
eval do { local (@ARGV, $/) = $file; <> };
die $@ if $@;
sub restarted {
    my $unit = shift;
    foreach my $re (keys %{$nrconf{override_rc}}) {
        return $nrconf{override_rc}->{$re} if $unit =~ /$re/;
    }
    return 1;
}
print "$nrconf{restart} $nrconf{ui}\n";
print join(" ", grep { restarted($_) } @ARGV[2 .. $#ARGV]), "\n";
"""


def needrestart(mode: str, *units: str) -> tuple[str, list[str]]:
    """The mode in which it runs where it would run in `mode`, and the units that it would restart if asked for."""
    file = FILES / "needrestart/conf.d/voicefleet.conf"
    command = ["perl", "-e", _NEEDRESTART, str(file), mode, *units]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    settings, restarted = done.stdout.splitlines()
    return settings, restarted.split()


@pytest.mark.parametrize("mode", ["i", "a"])
def test_needrestart_only_lists(mode: str) -> None:
    """Ubuntu's hook takes "a" unless an interface is named (needrestart 3.6-7ubuntu4)."""
    assert needrestart(mode, "voicefleet.service")[0] == "l NeedRestart::UI::stdio"


def test_who_asks_needrestart_to_restart_services_gets_none_of_ours() -> None:
    ours = sorted(path.name for path in UNITS.iterdir() if path.suffix in (".service", ".mount", ".target"))
    assert set(needrestart("a", *ours, "dbus.service", "cron.service")[1]) == {"cron.service", "dcgm-exporter.service"}


@pytest.fixture
def apt(tmp_path: Path) -> list[str]:
    """apt on a machine with the image's preferences and two archives, the distribution's and NVIDIA's."""
    for folder in (
        "etc/apt/preferences.d",
        "var/lib/dpkg",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").touch()
    (tmp_path / "etc/apt/preferences.d/voicefleet").write_bytes((FILES / "apt/preferences.d/voicefleet").read_bytes())
    archives = {
        "Ubuntu": {"nvidia-modprobe": "535.161.07-1", "nvidia-utils-580-server": "580.95.05-0ubuntu1"},
        "NVIDIA": {
            "nvidia-modprobe": "595.10.01-1",
            "nvidia-utils-580-server": "580.105.08-1",
            "datacenter-gpu-manager-4-core": "1:4.5.2-1",
        },
    }
    for origin, packages in archives.items():
        archive = tmp_path / origin
        archive.mkdir()
        (archive / "Release").write_text(f"Origin: {origin}\nLabel: {origin}\n")
        (archive / "Packages").write_text(
            "\n".join(
                f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t\nFilename: ./{name}.deb\n"
                f"Size: 1\nSHA256: {'0' * 64}\nDescription: t\n"
                for name, version in packages.items()
            )
        )
    lines = [f"deb [trusted=yes] file:{tmp_path / origin} ./" for origin in archives]
    (tmp_path / "etc/apt/sources.list").write_text("\n".join(lines) + "\n")
    options = ["-o", f"Dir={tmp_path}", "-o", f"Dir::State::status={tmp_path}/var/lib/dpkg/status"]
    options += ["-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, "--quiet", "update"], capture_output=True, text=True, check=True)
    return ["apt-cache", *options, "policy"]


@pytest.mark.needs("apt-get")
def test_of_nvidias_archive_only_dcgm_is_taken(apt: list[str]) -> None:
    names = ("nvidia-modprobe", "nvidia-utils-580-server", "datacenter-gpu-manager-4-core")
    told = subprocess.run([*apt, *names], capture_output=True, text=True, check=True).stdout
    candidates = [line.split()[1] for line in told.splitlines() if line.strip().startswith("Candidate:")]
    assert candidates == ["535.161.07-1", "580.95.05-0ubuntu1", "1:4.5.2-1"]


def test_the_image_names_what_unattended_upgrades_leave_alone() -> None:
    settings = (FILES / "apt/apt.conf.d/52voicefleet").read_text(encoding="utf-8")
    assert 'Automatic-Reboot "false"' in settings
    for held in ("^linux-", "nvidia", "^datacenter-gpu-manager", "^amazon-cloudwatch-agent$"):
        assert f'Package-Blacklist:: "{held}";' in settings
