"""A transport stream multiplexer for a clip that loops: constant rate, every stamp on a grid that closes (ISO/IEC 13818-1)."""

from dataclasses import dataclass, field

PACKET = 188
TICKS = 27_000_000
PMT_PID, VIDEO_PID, AUDIO_PID, NULL_PID = 0x1000, 0x100, 0x101, 0x1FFF


@dataclass
class Unit:
    """One access unit: a PES packet."""

    data: bytes
    pts_90k: int
    key: bool = False


@dataclass
class Stream:
    """An elementary stream: its units in order, and how long before its PTS a unit may begin to be sent."""

    pid: int
    stream_id: int
    units: list
    lead_90k: int
    waiting: list = field(default_factory=list)


def crc32(data):
    """CRC-32/MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
    return (crc & 0xFFFFFFFF).to_bytes(4, "big")


def section(table_id, extension, body, flags=0xB000):
    """A section in the long syntax, version 0."""
    head = bytes([table_id]) + (flags | len(body) + 9).to_bytes(2, "big") + extension.to_bytes(2, "big")
    data = head + b"\xc1\x00\x00" + body
    return data + crc32(data)


def descriptor(tag, body):
    """Tag, length, body."""
    return bytes([tag, len(body)]) + body


def tables(service, provider, name):
    """PAT, PMT and SDT as (PID, section)."""
    pat = section(0x00, 1, service.to_bytes(2, "big") + (0xE000 | PMT_PID).to_bytes(2, "big"))
    captions = descriptor(0x86, b"\xc1eng\x7e\x3f\xff")  # one service: CEA-608 on line 21, field 1
    language = descriptor(0x0A, b"eng\x00")
    body = (0xE000 | VIDEO_PID).to_bytes(2, "big") + b"\xf0\x00"
    for kind, pid, info in ((0x1B, VIDEO_PID, captions), (0x0F, AUDIO_PID, language)):
        body += bytes([kind]) + (0xE000 | pid).to_bytes(2, "big") + (0xF000 | len(info)).to_bytes(2, "big") + info
    names = b"\x01" + bytes([len(provider)]) + provider.encode() + bytes([len(name)]) + name.encode()
    info = descriptor(0x48, names)
    entry = service.to_bytes(2, "big") + b"\xfc" + (0x8000 | len(info)).to_bytes(2, "big") + info
    sdt = section(0x42, 1, b"\x00\x01\xff" + entry, flags=0xF000)
    return {"pat": (0, pat), "pmt": (PMT_PID, section(0x02, service, body)), "sdt": (0x11, sdt)}


def stamp(prefix, value):
    """PTS: 3, 15 and 15 bits with markers."""
    return bytes([
        prefix << 4 | (value >> 30 & 7) << 1 | 1,
        value >> 22 & 0xFF, (value >> 15 & 0x7F) << 1 | 1,
        value >> 7 & 0xFF, (value & 0x7F) << 1 | 1,
    ])


def pes(stream_id, unit):
    """A PES packet with PTS only: without B pictures decoding and presentation times are the same."""
    length = len(unit.data) + 8 if stream_id < 0xE0 else 0
    head = b"\x00\x00\x01" + bytes([stream_id]) + length.to_bytes(2, "big") + b"\x84\x80\x05"
    return head + stamp(2, unit.pts_90k) + unit.data


def pcr_bytes(ticks):
    """33 bits base, 6 reserved, 9 bits extension."""
    return (ticks // 300 << 15 | 0x3F << 9 | ticks % 300).to_bytes(6, "big")


class Multiplexer:
    """Fills a given number of packets; the caller says at which ones tables and PCRs stand."""

    def __init__(self, packets_per_second):
        self.slot_ticks = TICKS // packets_per_second
        assert self.slot_ticks * packets_per_second == TICKS
        self.counters = {}
        self.out = bytearray()

    def packet(self, pid, data, start=False, pcr=None, key=False):
        """Writes one packet with as much of `data` as fits; answers the rest."""
        adaptation = b""
        if pcr is not None or key:
            adaptation = bytes([(0x10 if pcr is not None else 0) | (0x40 if key else 0)])
            adaptation += pcr_bytes(pcr) if pcr is not None else b""
        room = PACKET - 4 - (len(adaptation) + 1 if adaptation else 0)
        if len(data) < room:
            # Stuffing lives in the adaptation field; a field of length zero takes one byte alone.
            missing = room - len(data)
            if not adaptation:
                missing -= 1
                adaptation = b"\x00" if missing else b""
                missing -= 1 if missing else 0
            adaptation += b"\xff" * missing
            field_bytes = bytes([len(adaptation)]) + adaptation
        else:
            field_bytes = bytes([len(adaptation)]) + adaptation if adaptation else b""
        payload = data[:PACKET - 4 - len(field_bytes)]
        last = self.counters.get(pid, 15)
        counter = (last + 1 if payload else last) & 15
        self.counters[pid] = counter
        flags = (0x20 if field_bytes else 0) | (0x10 if payload else 0) | counter
        head = bytes([0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF, flags])
        whole = head + field_bytes + payload
        assert len(whole) == PACKET
        self.out += whole
        return data[len(payload):]

    def section(self, pid, data):
        """A section that fits one packet."""
        whole = b"\x00" + data
        assert len(whole) <= PACKET - 4
        self.packet(pid, whole + b"\xff" * (PACKET - 4 - len(whole)), start=True)

    def null(self):
        """Stuffing that keeps the rate constant."""
        self.out += b"\x47\x1f\xff\x10" + b"\xff" * (PACKET - 4)

    def run(self, slots, streams, plan, margin_90k):
        """Earliest deadline first. Asserts that every unit is whole `margin_90k` before its PTS, and that all fit."""
        for slot in range(slots):
            now = slot * self.slot_ticks
            table = plan.table_at(slot)
            if table:
                self.section(*table)
                continue
            pcr = now if plan.pcr_at(slot) else None
            ready = [stream for stream in streams if self.ready(stream, now // 300)]
            if pcr is not None:
                ready = [stream for stream in ready if stream.pid == VIDEO_PID]
            if not ready:
                self.packet(VIDEO_PID, b"", pcr=pcr) if pcr is not None else self.null()
                continue
            stream = min(ready, key=lambda stream: stream.waiting[0][1].pts_90k)
            rest, unit, fresh = stream.waiting[0]
            rest = self.packet(stream.pid, rest, start=fresh, pcr=pcr, key=fresh and unit.key)
            if rest:
                stream.waiting[0] = (rest, unit, False)
            else:
                stream.waiting.pop(0)
                spare = unit.pts_90k - now // 300
                assert spare >= margin_90k, f"PID {stream.pid:#x}: unit of PTS {unit.pts_90k} is {spare} early"
        left = sum(len(stream.units) + len(stream.waiting) for stream in streams)
        assert left == 0, f"{left} units did not fit"

    @staticmethod
    def ready(stream, now_90k):
        """Whether the stream has something to send; moves the units that may begin now."""
        while stream.units and stream.units[0].pts_90k - now_90k <= stream.lead_90k:
            unit = stream.units.pop(0)
            stream.waiting.append((pes(stream.stream_id, unit), unit, True))
        return bool(stream.waiting)
