// The beginning of a transport stream, read for one thing: which codecs it has, so that the browser can be asked whether it takes them.
//
// ISO/IEC 13818-1: packets of 188 bytes (2.4.3.2), PAT (2.4.4.3), PMT (2.4.4.8), PES (2.4.3.6). ISO/IEC 14496-15 writes H.264's
// profile, constraints and level as `avc1.PPCCLL`.

const PACKET = 188;
const SYNC = 0x47;
/** An elementary stream's beginning is collected until it shows what it is, up to this. */
const SAMPLE_BYTES = 4096;
/** After so much of the stream without an answer what is known by then is the answer. */
const LOOK_BYTES = 2_000_000;

/** Stream types of PMTs (ISO/IEC 13818-1 table 2-34, ATSC A/53 part 3) with people's words; `mime` where some browser takes it in MPEG-TS. */
const TYPES = {
  0x01: { video: true, name: "MPEG-1 video" }, 0x02: { video: true, name: "MPEG-2 video" }, 0x10: { video: true, name: "MPEG-4 part 2 video" },
  0x1b: { video: true, name: "H.264", sample: h264 }, 0x24: { video: true, name: "HEVC (H.265)", mime: "hvc1.1.6.L123.B0" }, 0x33: { video: true, name: "VVC (H.266)" },
  0x03: { audio: true, name: "MPEG audio (MP2)", mime: "mp4a.69" }, 0x04: { audio: true, name: "MPEG audio (MP2)", mime: "mp4a.69" },
  0x0f: { audio: true, name: "AAC", mime: "mp4a.40.2" }, 0x11: { audio: true, name: "AAC in LATM" },
  0x81: { audio: true, name: "AC-3", mime: "ac-3" }, 0x87: { audio: true, name: "E-AC-3", mime: "ec-3" },
};
/** DVB: private data (type 6) is what its descriptors say (ETSI EN 300 468, annex D). */
const PRIVATE = { 0x6a: TYPES[0x81], 0x7a: TYPES[0x87] };

function h264(bytes) {
  for (let at = 0; at + 6 < bytes.length; at += 1) {
    if (bytes[at] === 0 && bytes[at + 1] === 0 && bytes[at + 2] === 1 && (bytes[at + 3] & 0x1f) === 7) {
      return `avc1.${[...bytes.subarray(at + 4, at + 7)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    }
  }
  return null;
}

/** Reads packets until `streams` is known: a list of {name, video | audio, mime}. */
export class CodecReader {
  streams = null;
  #rest = new Uint8Array(0);
  #pmtPid = null;
  #found = null;
  #seen = 0;

  /** Takes a piece of the stream, cut anywhere. */
  push(piece) {
    if (this.streams) return;
    this.#seen += piece.length;
    const bytes = new Uint8Array(this.#rest.length + piece.length);
    bytes.set(this.#rest);
    bytes.set(piece, this.#rest.length);
    let at = 0;
    while (at + PACKET <= bytes.length && !this.streams) {
      if (bytes[at] !== SYNC) { at += 1; continue; }
      this.#packet(bytes.subarray(at, at + PACKET));
      at += PACKET;
    }
    this.#rest = bytes.slice(at);
    if (!this.streams && this.#seen > LOOK_BYTES) this.#settle();
  }

  #packet(packet) {
    const start = (packet[1] & 0x40) !== 0;
    const pid = (packet[1] & 0x1f) << 8 | packet[2];
    const adaptation = packet[3] >> 4 & 3;
    if ((adaptation & 1) === 0) return;
    const from = adaptation === 3 ? 5 + packet[4] : 4;
    if (from >= PACKET) return;
    const payload = packet.subarray(from);
    if (pid === 0 && start) this.#pat(payload.subarray(1 + payload[0]));
    else if (pid === this.#pmtPid && start && !this.#found) this.#pmt(payload.subarray(1 + payload[0]));
    else this.#elementary(pid, start, payload);
  }

  #pat(section) {
    if (section[0] !== 0 || section.length < 12) return;
    const end = Math.min(3 + ((section[1] & 0x0f) << 8 | section[2]) - 4, section.length - 3);
    for (let at = 8; at + 3 < end + 1; at += 4) {
      const programme = section[at] << 8 | section[at + 1];
      if (programme !== 0) { this.#pmtPid = (section[at + 2] & 0x1f) << 8 | section[at + 3]; return; }
    }
  }

  #pmt(section) {
    if (section[0] !== 2 || section.length < 16) return;
    const end = Math.min(3 + ((section[1] & 0x0f) << 8 | section[2]) - 4, section.length);
    const found = [];
    let at = 12 + ((section[10] & 0x0f) << 8 | section[11]);
    while (at + 5 <= end) {
      const pid = (section[at + 1] & 0x1f) << 8 | section[at + 2];
      const length = (section[at + 3] & 0x0f) << 8 | section[at + 4];
      const type = section[at] === 0x06 ? described(section.subarray(at + 5, Math.min(at + 5 + length, end))) : TYPES[section[at]];
      if (type) found.push({ pid, ...type, bytes: null, done: !type.sample });
      at += 5 + length;
    }
    this.#found = found;
    if (found.every((stream) => stream.done)) this.#settle();
  }

  #elementary(pid, start, payload) {
    const stream = this.#found?.find((each) => each.pid === pid && !each.done);
    if (!stream) return;
    if (start) stream.bytes = [];
    else if (!stream.bytes) return;
    stream.bytes.push(...payload);
    const mime = stream.sample(Uint8Array.from(stream.bytes));
    if (mime) Object.assign(stream, { mime, done: true });
    else if (stream.bytes.length > SAMPLE_BYTES) stream.bytes = null; // the next beginning, then
    if (this.#found.every((each) => each.done)) this.#settle();
  }

  #settle() {
    this.streams = (this.#found ?? []).map(({ name, video, audio, mime }) => ({ name, video: Boolean(video), audio: Boolean(audio), mime: mime ?? null }));
  }
}

function described(descriptors) {
  for (let at = 0; at + 2 <= descriptors.length; at += 2 + descriptors[at + 1]) {
    if (PRIVATE[descriptors[at]]) return PRIVATE[descriptors[at]];
  }
  return null;
}

/** What a browser can do with `streams`: {mime (null: nothing), shown, refused (names)}; the first picture and the first sound count. */
export function playable(streams, container, supported) {
  const video = streams.find((stream) => stream.video) ?? null;
  const audio = streams.find((stream) => stream.audio) ?? null;
  const takes = (stream) => stream?.mime && supported(`${container}; codecs="${stream.mime}"`);
  const refused = [video, audio].filter((stream) => stream && !takes(stream));
  const shown = [video, audio].filter((stream) => stream && takes(stream));
  const possible = video ? takes(video) : takes(audio);
  return { mime: possible ? `${container}; codecs="${shown.map((stream) => stream.mime).join(",")}"` : null, shown, refused };
}
