#!/usr/bin/env python3
"""Makes clip.ts, the built-in test card. Needs ffmpeg with libx264, python3-pil and fonts-dejavu-core (see README.md)."""

import math
import subprocess
import sys
from array import array
from pathlib import Path

import captions
import mux
import picture

AUDIO_RATE, AAC_SAMPLES = 48_000, 1024
AUDIO_FRAMES = 600
FRAME_90K, AAC_90K = 3600, 1920
PERIOD_90K = picture.FRAMES * FRAME_90K
assert PERIOD_90K == AUDIO_FRAMES * AAC_90K, "video and audio must end together"

PACKETS_PER_SECOND = 600  # 902,400 bit/s
SLOTS = PACKETS_PER_SECOND * PERIOD_90K // 90_000

# Video may be sent 480 ms before its PTS, audio 160 ms (its decoder buffer is small, §2.4.2.3). So that both begin with
# packet 0 and end with the last one, audio begins 320 ms = 15 frames earlier on the timeline.
VIDEO_LEAD_90K, AUDIO_LEAD_90K = 43_200, 14_400
AUDIO_EARLY_FRAMES = (VIDEO_LEAD_90K - AUDIO_LEAD_90K) // AAC_90K
MARGIN_90K = 1_800

CAPTIONS = [
    ("MASTHEAD TEST CARD", "CAPTION 1 OF 4"),
    ("THIS TEXT IS CEA-608, POP-ON", "CAPTION 2 OF 4"),
    ("PICTURE, TONE AND TEXT", "CAPTION 3 OF 4"),
    ("LOOP WITHOUT A SEAM", "CAPTION 4 OF 4"),
]


class Plan:
    """Where tables and PCRs stand: PAT and PMT every 100 ms, SDT every 1.6 s, PCR every 40 ms. A key picture begins every
    second, so it always follows PAT, PMT and, with its own first packet, a PCR."""

    def __init__(self):
        self.tables = mux.tables(service=1, provider="Masthead", name="MASTHEAD test card")

    def table_at(self, slot):
        return self.tables.get({0: "pat", 1: "pmt"}.get(slot % 60) or ("sdt" if slot % 960 == 3 else None))

    @staticmethod
    def pcr_at(slot):
        return slot % 24 == 2


def ffmpeg(arguments, source):
    """Runs ffmpeg on what `source` yields; answers its standard output."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", *arguments, "-"]
    process = subprocess.run(command, input=b"".join(source), stdout=subprocess.PIPE, check=True)
    return process.stdout


def video_units():
    """One access unit per frame: closed GOPs of one second, no B pictures, captions in every picture."""
    size = f"{picture.WIDTH}x{picture.HEIGHT}"
    x264 = "aud=1:keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=0:ref=2:rc-lookahead=40:threads=1"
    stream = ffmpeg([
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(picture.RATE), "-i", "-",
        "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-profile:v", "main", "-preset", "veryslow", "-x264-params", x264,
        "-b:v", "560k", "-maxrate", "620k", "-bufsize", "200k",
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-f", "h264",
    ], picture.frames())
    units = [nals(unit) for unit in split_before(stream, 9)]
    assert len(units) == picture.FRAMES, len(units)
    pairs = captions.pairs_of_clip(CAPTIONS, picture.FRAMES)
    return [video_unit(number, *both) for number, both in enumerate(zip(units, pairs, strict=True))]


def video_unit(number, parts, pair):
    """Puts the caption after the parameter sets and before the first slice; the encoder's own SEI is left out."""
    before = [part for part in parts if part[4] & 31 in (7, 8, 9)]
    slices = [part for part in parts if part[4] & 31 in (1, 5)]
    assert len(slices) >= 1 and before[0][4] & 31 == 9
    data = b"".join(before) + captions.sei(pair) + b"".join(slices)
    return mux.Unit(data, VIDEO_LEAD_90K + number * FRAME_90K, key=slices[0][4] & 31 == 5)


def nals(data):
    """NAL units, each with a start code of four bytes."""
    parts = data.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:]
    return [b"\x00\x00\x00\x01" + part for part in parts]


def split_before(stream, nal_type):
    """Cuts an Annex B stream before each NAL unit of one type."""
    units = []
    for part in nals(stream):
        if part[4] & 31 == nal_type:
            units.append(b"")
        units[-1] += part
    return units


def tone(sample):
    """440 Hz, quiet, and a beep of 880 Hz at each second; both have a whole number of periods in the clip."""
    time = sample / AUDIO_RATE
    beep = 0.25 * math.sin(math.tau * 880 * time) if time % 1 < picture.BEEP_FRAMES / picture.RATE else 0
    return round(32_767 * (0.05 * math.sin(math.tau * 440 * time) + beep))


def audio_units():
    """AAC frames from the middle of three rounds: there the encoder has the clip's end behind and its start before it."""
    pcm = array("h", (value for n in range(AUDIO_FRAMES * AAC_SAMPLES) for value in [tone(n)] * 2))
    if sys.byteorder == "big":
        pcm.byteswap()
    arguments = ["-f", "s16le", "-ar", str(AUDIO_RATE), "-ac", "2", "-i", "-", "-c:a", "aac", "-b:a", "96k"]
    frames = adts(ffmpeg([*arguments, "-f", "adts"], [pcm.tobytes()] * 3))
    # One frame of priming: the samples of round two begin in frame 601.
    first = AUDIO_FRAMES + 1 - AUDIO_EARLY_FRAMES
    chosen = frames[first:first + AUDIO_FRAMES]
    assert len(chosen) == AUDIO_FRAMES
    return [mux.Unit(frame, AUDIO_LEAD_90K + n * AAC_90K) for n, frame in enumerate(chosen)]


def adts(stream):
    """ADTS frames by the length in their headers."""
    frames = []
    while stream:
        length = (stream[3] & 3) << 11 | stream[4] << 3 | stream[5] >> 5
        frames.append(stream[:length])
        stream = stream[length:]
    return frames


def main():
    """Writes clip.ts beside this script."""
    video = mux.Stream(mux.VIDEO_PID, 0xE0, video_units(), VIDEO_LEAD_90K)
    audio = mux.Stream(mux.AUDIO_PID, 0xC0, audio_units(), AUDIO_LEAD_90K)
    multiplexer = mux.Multiplexer(PACKETS_PER_SECOND)
    multiplexer.run(SLOTS, [video, audio], Plan(), MARGIN_90K)
    path = Path(__file__).with_name("clip.ts")
    path.write_bytes(multiplexer.out)
    print(f"{path.name}: {len(multiplexer.out)} bytes, {SLOTS} packets, {PERIOD_90K / 90_000} s")


if __name__ == "__main__":
    main()
