// Fragmented MP4 by its playlist (RFC 8216; ISO/IEC 14496-12): the initialisation section, then each segment once, in order.

/** A live playlist's newest so many segments are where one begins. */
const BEGIN_WITH = 2;

/** What codec strings mean in people's words (RFC 6381). */
const NAMES = [
  [/^avc[13]/, "H.264", "video"], [/^(hvc1|hev1)/, "HEVC (H.265)", "video"], [/^mp4v/, "MPEG video", "video"],
  [/^mp4a\.40/, "AAC", "audio"], [/^mp4a\.(69|6b)/i, "MPEG audio (MP2)", "audio"], [/^ac-3/, "AC-3", "audio"], [/^ec-3/, "E-AC-3", "audio"],
];

export class FragmentReader {
  /** `at`: from which second of a recording on. */
  constructor(url, signal, at) {
    this.url = new URL(url, location.href);
    this.signal = signal;
    this.at = at;
    this.codecs = null;
    /** The second of the recording that the first piece begins at. */
    this.began = 0;
  }

  /** Reads playlist and initialisation section; the streams, as transport_stream.js tells them. */
  async open(refuse) {
    let text = await this.text(this.url, refuse);
    if (text.includes("#EXT-X-STREAM-INF")) {
      this.codecs = /CODECS="([^"]+)"/.exec(text)?.[1] ?? null;
      const lines = text.split(/\r?\n/);
      this.url = new URL(lines[lines.findIndex((line) => line.startsWith("#EXT-X-STREAM-INF")) + 1], this.url);
      text = await this.text(this.url, refuse);
    }
    this.playlist = read(text);
    if (!this.playlist.map) throw new Error("The gateway's playlist names no initialisation section.");
    this.init = await this.bytes(this.playlist.map, refuse);
    return (this.codecs ? this.codecs.split(",") : codecsOf(this.init)).map((mime) => {
      const [, name, kind] = NAMES.find(([form]) => form.test(mime.trim())) ?? [null, mime, "video"];
      return { name, video: kind === "video", audio: kind === "audio", mime: mime.trim() };
    });
  }

  /** The initialisation section and then the segments, for ever while the playlist goes on. */
  async* pieces(refuse) {
    yield this.init;
    let { map } = this.playlist;
    let next = this.playlist.first + this.beginning();
    for (;;) {
      const { first, segments, ended, target_s } = this.playlist;
      if (next < first) next = first; // fallen behind: go on with the oldest that is there
      for (; next < first + segments.length; next += 1) {
        const segment = segments[next - first];
        if (segment.map !== map) {
          map = segment.map;
          yield await this.bytes(map, refuse);
        }
        yield await this.bytes(segment.uri, refuse);
      }
      if (ended) return;
      await new Promise((resolve) => setTimeout(resolve, Math.min(target_s * 500, 2_000)));
      this.signal.throwIfAborted();
      this.playlist = read(await this.text(this.url, refuse));
    }
  }

  /** Which segment is the first: of a recording the one with the second that was asked for. */
  beginning() {
    const { segments, ended } = this.playlist;
    if (!ended) return Math.max(0, segments.length - BEGIN_WITH);
    let index = 0;
    while (index + 1 < segments.length && this.began + segments[index].duration_s <= this.at) {
      this.began += segments[index].duration_s;
      index += 1;
    }
    return index;
  }

  async text(url, refuse) {
    const response = await fetch(url, { signal: this.signal, cache: "no-store" });
    await refuse(response);
    return response.text();
  }

  async bytes(uri, refuse) {
    const response = await fetch(new URL(uri, this.url), { signal: this.signal });
    await refuse(response);
    return new Uint8Array(await response.arrayBuffer());
  }
}

/** A media playlist: `first` is the number of its first segment. */
function read(text) {
  const playlist = { first: 0, target_s: 2, ended: false, map: null, segments: [] };
  let map = null;
  let duration_s = 0;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#EXT-X-MEDIA-SEQUENCE:")) playlist.first = Number(line.slice(22));
    else if (line.startsWith("#EXT-X-TARGETDURATION:")) playlist.target_s = Number(line.slice(22));
    else if (line.startsWith("#EXT-X-ENDLIST")) playlist.ended = true;
    else if (line.startsWith("#EXT-X-MAP:")) map = /URI="([^"]+)"/.exec(line)?.[1] ?? null;
    else if (line.startsWith("#EXTINF:")) duration_s = parseFloat(line.slice(8)) || 0;
    else if (line && !line.startsWith("#")) playlist.segments.push({ uri: line, map, duration_s });
  }
  playlist.map = playlist.segments.at(0)?.map ?? map;
  return playlist;
}

/** The codec strings of an initialisation section: what follows from its sample entries. */
function codecsOf(init) {
  const found = [];
  const hex = (byte) => byte.toString(16).padStart(2, "0");
  for (let at = 4; at + 8 < init.length; at += 1) {
    const kind = String.fromCharCode(...init.subarray(at, at + 4));
    if (kind === "avcC") found.push(`avc1.${hex(init[at + 5])}${hex(init[at + 6])}${hex(init[at + 7])}`);
    else if (kind === "hvcC") found.push("hvc1.1.6.L123.B0");
    else if (kind === "mp4a") found.push("mp4a.40.2");
    else if (kind === "ac-3" || kind === "ec-3") found.push(kind);
  }
  return found;
}
