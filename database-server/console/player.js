// The player: one video element and what is played in it, a channel as it is sent or something recorded.
//
// ```text
//  idle ─ play(item) ─► opening ─ first picture ─► playing ⇄ waiting ──► ended (recordings)
//                          └────────── fault ──────────┴──► failed ─ live, after a pause ─► opening
// ```
// Bare transport stream where the browser takes it (shorter delay), else the gateway's fragmented MP4 by its playlist.

import { Feeder } from "./feeder.js";
import { FragmentReader } from "./fragments.js";
import { CodecReader, playable } from "./transport_stream.js";

/** How far behind the newest second a channel is shown, and when that is hurried or leapt over. */
const LIVE = { start_s: 0.5, hurry_s: 1.8, leap_s: 5, rate: 1.06 };
/** Seconds of a recording that are fetched ahead. */
const AHEAD_S = 30;
const RETRY_MS = [1_000, 2_000, 5_000];
const TICK_MS = 250;
/** A live picture that has stood still for so long is begun anew. */
const STILL_MS = 6_000;

const supported = (mime) => "MediaSource" in window && MediaSource.isTypeSupported(mime);
/** Whether bare transport stream can be shown here. */
export const takesTransportStream = supported('video/mp2t; codecs="avc1.64001f"');

export class Player {
  /** `onchange()` after anything that is to be shown has changed. */
  constructor(video, onchange) {
    this.video = video;
    this.onchange = onchange;
    this.item = null;
    this.state = "idle";
    this.text = "";
    this.streams = null;
    this.refused = [];
    this.way = takesTransportStream ? "ts" : "fmp4";
    this.attempt = 0;
    this.received = 0;
    for (const name of ["playing", "pause", "waiting", "ended", "volumechange", "resize"]) video.addEventListener(name, () => this.heard(name));
    this.ticking = setInterval(() => this.tick(), TICK_MS);
  }

  /** Plays `item`: {live, duration_s, open(seconds) → {url, fromByte(length)?}, fragments?: url}; from `at` seconds on. */
  play(item, at = 0) {
    this.attempt = 0;
    this.streams = null;
    this.refused = [];
    this.begin(item, at);
  }

  begin(item, at) {
    this.stop();
    this.item = item;
    this.at = at;
    this.first = null;
    this.lastTime = null;
    this.received = 0;
    this.set("opening", "");
    const abort = new AbortController();
    this.abort = abort;
    const feeder = new Feeder(this.video, (text) => this.fail(text, true));
    this.feeder = feeder;
    const run = this.way === "fmp4" && item.fragments ? this.fragments(item, at, feeder, abort.signal) : this.bytes(item, at, feeder, abort.signal);
    run.catch((error) => {
      if (!abort.signal.aborted) this.fail(error.message, error.passing !== false);
    });
  }

  /** Reads bare transport stream into the feeder. */
  async bytes(item, at, feeder, signal) {
    const { url, fromByte } = item.open(at);
    const headers = {};
    if (fromByte && at > 0) headers.range = `bytes=${fromByte(await this.length(url, signal))}-`;
    const response = await fetch(url, { signal, headers, cache: "no-store" });
    await refuse(response);
    const codecs = new CodecReader();
    const reader = response.body.getReader();
    let opened = false;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      this.received += value.length;
      if (!opened) {
        codecs.push(value);
        if (codecs.streams) {
          opened = true;
          await feeder.open(this.choose(codecs.streams, "video/mp2t"));
        }
      }
      feeder.push(value);
      if (!item.live) await room(feeder, signal);
    }
    if (item.live) throw new Error("The stream ended.");
    feeder.end();
  }

  /** Reads fragmented MP4 by its playlist into the feeder. */
  async fragments(item, at, feeder, signal) {
    const reader = new FragmentReader(item.fragments, signal, at);
    const streams = await reader.open(refuse);
    await feeder.open(this.choose(streams, "video/mp4"));
    for await (const piece of reader.pieces(refuse)) {
      if (!item.live) this.at = reader.began;
      this.received += piece.length;
      feeder.push(piece);
      if (!item.live) await room(feeder, signal);
    }
    if (item.live) throw new Error("The stream ended.");
    feeder.end();
  }

  /** The MIME type to open with; says what cannot be shown. */
  choose(streams, container) {
    const { mime, refused } = playable(streams, container, supported);
    this.streams = streams;
    this.refused = refused.map((stream) => stream.name);
    if (!mime) {
      const names = streams.map((stream) => stream.name).join(" and ") || "an unknown kind";
      throw Object.assign(new Error(`No browser can show this here: the stream is ${names}. VLC and other players can.`), { passing: false });
    }
    this.onchange();
    return mime;
  }

  /** How many bytes a recording has, by a request for the first one. */
  async length(url, signal) {
    if (this.item.length) return this.item.length;
    const response = await fetch(url, { signal, headers: { range: "bytes=0-0" }, cache: "no-store" });
    await refuse(response);
    await response.body?.cancel();
    this.item.length = Number(/\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1] ?? 0);
    return this.item.length;
  }

  /** Seconds into the recording that are shown; of a channel, how long it has been watched. */
  position() {
    return this.first === null ? this.at : this.at + this.video.currentTime - this.first;
  }

  /** Goes to `seconds` of a recording. */
  seek(seconds) {
    if (!this.item || this.item.live) return;
    const goal = Math.max(0, Math.min(seconds, this.item.duration_s - 0.5));
    const range = this.feeder?.range();
    const local = this.first === null ? null : this.first + goal - this.at;
    if (range && local !== null && local >= range.start && local <= range.end - 0.2) this.video.currentTime = local;
    else this.begin(this.item, goal);
    this.onchange();
  }

  /** Seconds behind the newest that has come. */
  delay() {
    return this.feeder ? this.feeder.ahead() : 0;
  }

  tick() {
    const range = this.feeder?.range();
    if (!range || this.state === "failed") return;
    const { video } = this;
    if (this.first === null) {
      if (range.end - range.start < LIVE.start_s) return;
      this.first = range.start;
      if (video.currentTime < range.start) video.currentTime = range.start;
      this.start();
    }
    // A gap in the stream: go on behind it.
    if (!video.seeking && video.readyState < 3) {
      for (let n = 0; n < video.buffered.length; n += 1) {
        const start = video.buffered.start(n);
        if (start > video.currentTime && (start - video.currentTime < 1 || range.end - start > 1)) { video.currentTime = start + 0.02; break; }
      }
    }
    if (this.item.live && !video.paused) {
      const behind = range.end - video.currentTime;
      if (behind > LIVE.leap_s) video.currentTime = range.end - LIVE.start_s;
      video.playbackRate = behind > LIVE.hurry_s ? LIVE.rate : 1;
    }
    const now = performance.now();
    if (video.paused || video.currentTime !== this.lastTime) Object.assign(this, { lastTime: video.currentTime, movedAt: now });
    else if (this.item.live && now - this.movedAt > STILL_MS) {
      this.fail("The picture stood still.", true);
      return;
    }
    this.feeder.pump();
    this.onchange();
  }

  async start() {
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return;
      // Browsers let nothing sound that nobody has asked for; the picture may move.
      this.video.muted = true;
      this.quiet = true;
      await this.video.play().catch(() => undefined);
    }
    this.onchange();
  }

  toggle() {
    if (this.state === "failed" && this.item) this.play(this.item, this.item.live ? 0 : this.position());
    else if (this.video.paused) this.start();
    else this.video.pause();
  }

  heard(name) {
    if (name === "playing") { this.attempt = 0; this.set("playing", ""); }
    else if (name === "waiting" && this.state === "playing") this.set("waiting", "");
    else if (name === "ended") this.set("ended", "The end.");
    else this.onchange();
  }

  fail(text, passing) {
    const { item } = this;
    this.abort?.abort();
    this.feeder?.close();
    this.set("failed", text);
    if (!passing || !item?.live) return;
    const wait = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)];
    this.attempt += 1;
    this.retry = setTimeout(() => this.begin(item, 0), wait);
  }

  set(state, text) {
    this.state = state;
    this.text = text;
    this.onchange();
  }

  stop() {
    clearTimeout(this.retry);
    this.abort?.abort();
    this.feeder?.close();
    this.feeder = null;
    this.video.playbackRate = 1;
  }

  close() {
    clearInterval(this.ticking);
    this.stop();
    this.onchange = () => undefined;
  }
}

/** Throws what a refusing answer says. */
async function refuse(response) {
  if (response.ok) return;
  const text = (await response.text()).slice(0, 400);
  let message = text;
  try { message = JSON.parse(text).error?.message ?? text; } catch { /* plain text */ }
  if (!message || message.startsWith("<")) message = `The gateway answered ${response.status}.`;
  throw Object.assign(new Error(message), { passing: response.status >= 500 });
}

/** Waits until the feeder has used up some of what it has. */
async function room(feeder, signal) {
  while (!signal.aborted && !feeder.closed && feeder.ahead() > AHEAD_S) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
}
