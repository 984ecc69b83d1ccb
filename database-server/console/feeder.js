// A feeder: brings bytes into a video element by Media Source Extensions (W3C), in order, never more than the browser holds.

/** Seconds that stay behind the place that is shown; older ones are taken out. */
const BEHIND_S = 20;
/** Bytes that may wait for the browser to take them; more means that it is stuck. */
const WAITING_BYTES = 32_000_000;

export class Feeder {
  /** `onfault(text)` is called once, when nothing more can come of this one. */
  constructor(video, onfault) {
    this.video = video;
    this.onfault = onfault;
    this.source = new MediaSource();
    this.buffer = null;
    this.queue = [];
    this.waiting = 0;
    this.ended = false;
    this.url = URL.createObjectURL(this.source);
    video.src = this.url;
    this.opened = new Promise((resolve) => this.source.addEventListener("sourceopen", resolve, { once: true }));
    this.failed = () => this.fault(video.error?.message || "the browser cannot decode it");
    video.addEventListener("error", this.failed);
  }

  /** Opens for a MIME type with codecs that the browser has said it takes. */
  async open(mime) {
    await this.opened;
    if (this.closed) return;
    this.buffer = this.source.addSourceBuffer(mime);
    this.buffer.addEventListener("updateend", () => this.pump());
    this.pump();
  }

  push(bytes) {
    this.queue.push(bytes);
    this.waiting += bytes.length;
    if (this.waiting > WAITING_BYTES) this.fault("the browser takes it too slowly");
    this.pump();
  }

  end() {
    this.ended = true;
    this.pump();
  }

  pump() {
    if (this.closed || !this.buffer || this.buffer.updating || this.source.readyState !== "open") return;
    const { buffered } = this.buffer;
    const keep = this.video.currentTime - BEHIND_S;
    if (buffered.length && buffered.start(0) < keep - BEHIND_S) {
      this.buffer.remove(buffered.start(0), keep);
      return;
    }
    if (this.queue.length) {
      // All that waits goes in one call, since each has its own overhead.
      const bytes = this.queue.length === 1 ? this.queue[0] : join(this.queue, this.waiting);
      try {
        this.buffer.appendBuffer(bytes);
        this.queue = [];
        this.waiting = 0;
      } catch (error) {
        if (error.name === "QuotaExceededError" && buffered.length && this.video.currentTime > buffered.start(0) + 1) this.buffer.remove(buffered.start(0), this.video.currentTime - 1);
        else if (error.name !== "QuotaExceededError") this.fault(error.message);
      }
    } else if (this.ended) {
      this.source.endOfStream();
    }
  }

  /** Seconds that are there beyond the place that is shown. */
  ahead() {
    const range = this.range();
    return range ? range.end - Math.max(this.video.currentTime, range.start) : 0;
  }

  /** What is there: from the first to the last second; null when nothing is. */
  range() {
    const { buffered } = this.video;
    return buffered.length ? { start: buffered.start(0), end: buffered.end(buffered.length - 1) } : null;
  }

  fault(text) {
    if (this.closed) return;
    this.close();
    this.onfault(text);
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.video.removeEventListener("error", this.failed);
    this.queue = [];
    URL.revokeObjectURL(this.url);
    this.video.removeAttribute("src");
    this.video.load();
  }
}

function join(pieces, length) {
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) { all.set(piece, at); at += piece.length; }
  return all;
}
