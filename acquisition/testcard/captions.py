"""CEA-608 pop-on captions as SEI messages: one field-1 byte pair per picture (ANSI/SCTE 128-1 §8, CTA-608-E)."""

RCL, ENM, EOC = (0x14, 0x20), (0x14, 0x2E), (0x14, 0x2F)
ROW_14, ROW_15 = (0x14, 0x50), (0x14, 0x70)
NULL = (0x00, 0x00)


def parity(byte):
    """Odd parity in the top bit."""
    return byte | (0x80 if bin(byte).count("1") % 2 == 0 else 0)


def text(row):
    """A row's characters in pairs; upper case ASCII has its own codes in CEA-608."""
    codes = [ord(letter) for letter in row] + [0] * (len(row) % 2)
    return list(zip(codes[::2], codes[1::2]))


def caption(rows, pairs):
    """Loads two rows unseen, waits, and shows them with the last of `pairs` pairs. Control codes are sent twice."""
    load = [RCL, RCL, ENM, ENM, ROW_14, ROW_14, *text(rows[0]), ROW_15, ROW_15, *text(rows[1])]
    wait = pairs - len(load) - 2
    assert wait >= 0, rows
    return load + [NULL] * wait + [EOC, EOC]


def pairs_of_clip(captions, frames):
    """One pair per frame. Caption n is loaded before its turn, so the first one is loaded at the clip's end."""
    each = frames // len(captions)
    turns = captions[1:] + captions[:1]
    return [pair for rows in turns for pair in caption(rows, each)]


def sei(pair):
    """An SEI NAL unit, start code included, with the pair for field 1 and nothing for field 2."""
    cc = bytes([0xFC, parity(pair[0]), parity(pair[1]), 0xF9, 0x80, 0x80])
    data = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 2, 0xFF]) + cc + b"\xff"
    # No three bytes of it look like a start code (parity keeps every caption byte above zero): nothing to escape.
    return b"\x00\x00\x00\x01\x06\x04" + bytes([len(data)]) + data + b"\x80"
