#!/usr/bin/env python3
"""What taking a multiplex apart costs: masthead-acquisition beside dvblast, on the same datagrams.

    sudo bench/multiplex.py [--bin target/release] [--seconds 20] [--runs 3] [--services 8] [--rate 30]

Makes a multiplex of H.264 and AAC services by ffmpeg, sends it by UDP in a network namespace of its own at constant rate, and reads
the CPU time of each program from /proc/PID/stat. The receivers take turns within each run. dvblast sends each service by UDP;
masthead-acquisition makes RTP of each and feeds it to a push server by TCP: once with a viewer per channel, once with none, when it
shows the push server headers alone. The other daemons and the viewers run beside and are not counted.
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

INPUT = ("127.0.0.1", 5004)
FIRST_OUTPUT = 6000
DATAGRAM = 1316
TICKS = os.sysconf("SC_CLK_TCK")


def make(folder, services, rate):
    """One service's streams once, then all services as copies of them."""
    one, whole = folder / "one.ts", folder / "multiplex.ts"
    kbps = int(rate * 1000 * 0.9 / services) - 96
    ffmpeg = "ffmpeg -nostdin -v error -y".split()
    subprocess.run(
        ffmpeg
        + "-f lavfi -i testsrc2=s=320x180:r=25:d=10 -f lavfi -i sine=f=440:r=48000:d=10".split()
        + f"-c:v libx264 -preset ultrafast -g 25 -bf 0 -b:v {kbps}k -maxrate {kbps}k -bufsize 500k".split()
        + "-x264-params nal-hrd=cbr -c:a aac -b:a 96k -f mpegts".split()
        + [one],
        check=True,
    )
    streams = [f"-map 0:v -map 0:a -program program_num={101 + n}:st={2 * n}:st={2 * n + 1}" for n in range(services)]
    subprocess.run(
        ffmpeg + ["-i", one] + " ".join(streams).split() + ["-c", "copy", "-muxrate", f"{rate}M", "-f", "mpegts", whole],
        check=True,
    )
    return whole.read_bytes()


def send(stream, rate, ended):
    """The stream again and again at its rate, a datagram at a time."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams = [stream[at : at + DATAGRAM] for at in range(0, len(stream), DATAGRAM)]
    sent, start = 0, time.monotonic()
    while not ended.is_set():
        due = int((time.monotonic() - start) * rate * 1e6 / 8 / DATAGRAM)
        while sent < due:
            sender.sendto(datagrams[sent % len(datagrams)], INPUT)
            sent += 1
        time.sleep(0.002)


def sink(port, counts, ended):
    """Receives one output of dvblast and counts its bytes."""
    taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taker.bind(("127.0.0.1", port))
    taker.settimeout(0.2)
    while not ended.is_set():
        try:
            counts[port] = counts.get(port, 0) + len(taker.recv(2048))
        except TimeoutError:
            pass


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(process, seconds):
    """CPU seconds a second of a process that has come to its stride."""
    time.sleep(4)
    if process.poll() is not None:
        sys.exit(f"{process.args[0]} ended: {process.returncode}")
    before, start = cpu_s(process.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(process.pid) - before) / (time.monotonic() - start)


def topology(services):
    ids = list(range(1, services + 1))
    channels = "".join(
        f'[[channel]]\nid = {n}\nname = "{n}"\nacquisition_server = "roof"\ninput = "mux"\nservice = {100 + n}\n' for n in ids
    )
    return f"""[database_server]
address = "127.0.0.1"
[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "mux"
  url = "udp://{INPUT[0]}:{INPUT[1]}"
{channels}
[[push_server]]
id = "hall"
address = "127.0.0.1"
channels = {ids}
  [[push_server.destination]]
  address = "127.255.255.255"
  serves = ["127.0.0.0/8"]
"""


class Programs:
    """Processes of one turn, ended with it."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, *words):
        log = open(self.folder / "log", "ab")
        process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def end(self):
        for process in reversed(self.running):
            process.send_signal(signal.SIGINT)
        for process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def masthead(folder, programs, options, watched):
    (folder / "topology.toml").write_text(topology(options.services))
    secret = folder / "cluster.key"
    secret.touch(0o600)
    secret.write_text(f"masthead cluster key 1\n{os.urandom(32).hex()}\n")
    key = ("--cluster-key", secret)
    at = ("--database", "127.0.0.1")
    programs.start(
        options.others / "masthead-database-server",
        *("--topology", folder / "topology.toml", "--data", folder / "data", "--no-announce"),
        *key,
    )
    programs.start(options.others / "masthead-push-server", "--id", "hall", *at, *key)
    acquisition = programs.start(options.bin / "masthead-acquisition", "--id", "roof", *at, *key)
    time.sleep(3)
    viewers = [
        programs.start(
            options.others / "masthead-client", *at, "watch", n, "--output", folder / f"{n}.ts"
        )
        for n in range(1, options.services + 1 if watched else 1)
    ]
    cost = measure(acquisition, options.seconds)
    if any(viewer.poll() is not None for viewer in viewers):
        sys.exit((folder / "log").read_text())
    for n in range(1, len(viewers) + 1):
        least = options.rate * 1e6 / 8 / options.services * 0.8 * options.seconds
        if (folder / f"{n}.ts").stat().st_size < least:
            sys.exit(f"channel {n} was not received: {(folder / 'log').read_text()}")
    return cost


def dvblast(folder, programs, options):
    counts, ended = {}, threading.Event()
    ports = [FIRST_OUTPUT + 10 * n for n in range(options.services)]
    threads = [threading.Thread(target=sink, args=(port, counts, ended)) for port in ports]
    [thread.start() for thread in threads]
    lines = [f"127.0.0.1:{port}/udp 1 {101 + n}\n" for n, port in enumerate(ports)]
    (folder / "dvblast.conf").write_text("".join(lines))
    taker = programs.start("dvblast", "-q", "-D", f"@{INPUT[0]}:{INPUT[1]}/udp", "-c", folder / "dvblast.conf")
    cost = measure(taker, options.seconds)
    ended.set()
    [thread.join() for thread in threads]
    least = options.rate * 1e6 / 8 / options.services * 0.8 * options.seconds
    if any(counts.get(port, 0) < least for port in ports):
        sys.exit(f"dvblast did not send all services: {counts}")
    return cost


def inside(options):
    subprocess.run("ip link set lo up".split(), check=True)
    costs = {"dvblast": [], "masthead-acquisition, nobody watches": [], "masthead-acquisition, all watched": []}
    with tempfile.TemporaryDirectory() as made:
        stream = make(pathlib.Path(made), options.services, options.rate)
        ended = threading.Event()
        sender = threading.Thread(target=send, args=(stream, options.rate, ended))
        sender.start()
        try:
            for _ in range(options.runs):
                for name, figures in costs.items():
                    folder = pathlib.Path(tempfile.mkdtemp(dir=made))
                    programs = Programs(folder)
                    try:
                        if name == "dvblast":
                            figures.append(dvblast(folder, programs, options))
                        else:
                            figures.append(masthead(folder, programs, options, name.endswith("all watched")))
                    finally:
                        programs.end()
        finally:
            ended.set()
            sender.join()
    print(f"{options.services} services, {options.rate} Mb/s, {options.runs} runs of {options.seconds} s")
    print("| receiver | CPU | CPU per Mb/s, median (least – greatest) |\n|---|---|---|")
    for name, figures in costs.items():
        per = sorted(1e6 * figure / options.rate for figure in figures)
        cpu = 100 * statistics.median(figures)
        print(f"| {name} | {cpu:.1f} % | {statistics.median(per):.0f} µs/s ({per[0]:.0f} – {per[-1]:.0f}) |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("target/release"))
    parser.add_argument("--others", type=pathlib.Path, help="where the programs are that are not measured; as --bin")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--services", type=int, default=8)
    parser.add_argument("--rate", type=int, default=30, help="Mb/s of the whole multiplex")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.others = options.others or options.bin
    missing = [name for name in ("ffmpeg", "dvblast", "unshare") if not shutil.which(name)]
    if missing or not (options.bin / "masthead-acquisition").exists():
        sys.exit(f"missing: {missing or options.bin / 'masthead-acquisition'}")
    if options.inside:
        inside(options)
    else:
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv, "--inside"])


if __name__ == "__main__":
    main()
