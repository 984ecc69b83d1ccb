// Watch: the player with its list, its keys and its words.
//
// Addresses: `#/watch`, `#/watch/CHANNEL`, `#/watch/recording/ID`, `#/watch/past/CHANNEL/FROM_MS/TO_MS`.

import { ask } from "./api.js";
import { attribute, h, keyed, say } from "./element.js";
import { clock, moment, place, rate } from "./figures.js";
import { Player, takesTransportStream } from "./player.js";

/** Digits typed within this make one channel number. */
const DIGITS_MS = 1_200;
const STEP_S = 10;
const VOLUME_STEP = 0.05;

/** The address of a recorded time of a channel in the page. */
export function pastAddress(channel, fromMs, toMs) {
  return `#/watch/past/${channel}/${Math.round(fromMs)}/${Math.round(toMs)}`;
}

export function watchView(address) {
  let site = null;
  let digits = "";
  let digitsTimer = null;
  let wanted = null;

  const video = h("video", { playsinline: "", tabindex: "-1", "aria-label": "Picture" });
  const message = h("p", { class: "message", role: "status" });
  const typed = h("p", { class: "typed", "aria-hidden": "true", hidden: "" });
  const title = h("h1", { text: "Watch" });
  const sub = h("p", { class: "quiet" });
  const refused = h("p", { class: "note", role: "status", hidden: "" });

  const button = (name, label, onclick) => h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick }, symbol(name));
  const playButton = button("pause", "Pause", () => player.toggle());
  const previous = button("up", "Previous channel", () => zap(-1));
  const next = button("down", "Next channel", () => zap(1));
  const mute = button("sound", "Mute", () => { video.muted = !video.muted; });
  const volume = h("input", { type: "range", class: "volume", min: 0, max: 100, value: 100, "aria-label": "Volume", oninput: () => { video.volume = volume.value / 100; video.muted = false; } });
  const full = button("full", "Full screen", () => fullscreen());
  const seek = h("input", { type: "range", class: "seek", min: 0, max: 1, step: 1, value: 0, "aria-label": "Time in the recording", oninput: () => { held = true; say(time, times(Number(seek.value))); }, onchange: () => { held = false; player.seek(Number(seek.value)); } });
  const time = h("span", { class: "time" });
  const live = h("span", { class: "on-air", text: "live" });
  let held = false;
  const vlc = h("a", { text: "Playlist for VLC and other players" });
  const way = h("select", { id: "way", onchange: () => { player.way = way.value; if (player.item) player.play(player.item, player.item.live ? 0 : player.position()); } },
    [["ts", "transport stream"], ["fmp4", "fragmented MP4"]].map(([value, text]) => h("option", { value, text, disabled: value === "ts" && !takesTransportStream })));
  const facts = h("dl", { class: "facts inline" });
  const list = h("ul", { class: "zap" });
  const seekRow = h("div", { class: "seek-row" }, seek);
  const controls = h("div", { class: "controls", role: "group", "aria-label": "Player" }, playButton, previous, next, live, time, h("span", { class: "spread" }), mute, volume, full);
  const screen = h("div", { class: "screen", onclick: (event) => { if (event.target === video) player.toggle(); }, ondblclick: (event) => { if (event.target === video) fullscreen(); } }, video, message, typed);
  const stage = h("div", { class: "stage", tabindex: "0", role: "group", "aria-label": "Player. Page up and page down zap, space pauses, m mutes, f fills the screen.", onkeydown: (event) => key(event) }, screen, seekRow, controls);
  const aside = h("nav", { class: "panel zap-list", "aria-label": "Channels to watch" }, h("h2", { text: "Channels" }), list);
  const element = h("section", { class: "watch" },
    h("div", { class: "watch-main" }, h("div", { class: "head" }, h("div", {}, title, sub)), stage, refused, facts,
      h("p", { class: "actions" }, vlc, h("label", { class: "way", for: "way", text: "Delivered as " }, way))),
    aside);

  const player = new Player(video, () => draw());
  way.value = player.way;

  function fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else stage.requestFullscreen?.().catch(() => undefined);
  }

  function channels() {
    return site?.channels ?? [];
  }

  function zap(step) {
    const all = channels();
    if (!all.length) return;
    const at = all.findIndex((channel) => channel.id === wanted?.channel);
    tune(all[(Math.max(at, step > 0 ? -1 : 0) + step + all.length) % all.length].id);
  }

  function tune(id) {
    history.replaceState(null, "", `#/watch/${id}`);
    go([String(id)]);
  }

  function key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const inField = event.target.matches("input, select");
    const recorded = player.item && !player.item.live;
    const acts = {
      PageUp: () => zap(-1), PageDown: () => zap(1),
      ...(!inField && {
        ArrowUp: () => zap(-1), ArrowDown: () => zap(1),
        ArrowLeft: () => recorded && player.seek(player.position() - STEP_S), ArrowRight: () => recorded && player.seek(player.position() + STEP_S),
        m: () => { video.muted = !video.muted; }, f: () => fullscreen(),
        "+": () => louder(VOLUME_STEP), "-": () => louder(-VOLUME_STEP),
        ...(!event.target.matches("button") && { " ": () => player.toggle(), k: () => player.toggle() }),
      }),
    };
    const act = acts[event.key];
    if (act) act();
    else if (!inField && /^\d$/.test(event.key)) digit(event.key);
    else return;
    event.preventDefault();
  }

  function louder(by) {
    video.volume = Math.min(1, Math.max(0, video.volume + by));
    video.muted = false;
    volume.value = Math.round(video.volume * 100);
  }

  function digit(each) {
    digits = (digits + each).slice(-6);
    typed.hidden = false;
    say(typed, digits);
    clearTimeout(digitsTimer);
    digitsTimer = setTimeout(() => {
      const id = Number(digits);
      digits = "";
      typed.hidden = true;
      if (channels().some((channel) => channel.id === id)) tune(id);
      else say(message, `There is no channel ${id}.`);
    }, DIGITS_MS);
  }

  /** Goes to what an address names; true, since this view always can. */
  function go(parts) {
    const [first, second, third, fourth] = parts;
    if (first === "recording") openRecording(Number(second));
    else if (first === "past") openPast(Number(second), Number(third), Number(fourth));
    else if (first) openChannel(Number(first));
    else if (!wanted) {
      wanted = { waiting: true };
      if (site) pick();
    }
    return true;
  }

  /** Nothing was named: what can be had and is sent already costs the least. */
  function pick() {
    const all = channels();
    const best = all.find((channel) => channel.state === "sent") ?? all.find((channel) => channel.state === "suspended") ?? all[0];
    if (best) tune(best.id);
    else say(message, "There is no channel yet.");
  }

  function openChannel(id) {
    wanted = { channel: id, kind: "channel" };
    const base = `media/channel/${id}`;
    playlist(`${base}.ts`, `channel-${id}`);
    player.play({ live: true, open: () => ({ url: `${base}.ts` }), fragments: `${base}/fmp4.m3u8?_HLS_msn=0` });
    draw();
  }

  /** The link for other players: a playlist of one line. By plain HTTP at the same port, since players do not know this server's certificate. */
  function playlist(path, name) {
    const address = new URL(path, `http://${location.host}/`);
    attribute(vlc, "href", `data:audio/x-mpegurl,${encodeURIComponent(`#EXTM3U\n#EXTINF:-1,${name}\n${address}\n`)}`);
    attribute(vlc, "download", `${name}.m3u`);
  }

  async function openRecording(id) {
    const mine = { kind: "recording", recording: id };
    wanted = mine;
    playlist(`media/recording/${id}.ts`, `recording-${id}`);
    say(message, "");
    let programme;
    try {
      programme = (await ask("GET", "recordings")).programmes.find((each) => each.id === id);
    } catch (refusal) {
      say(message, refusal.message);
      return;
    }
    if (wanted !== mine) return;
    if (!programme) {
      player.stop();
      say(message, "There is no such recording.");
      return;
    }
    Object.assign(mine, { channel: programme.channel, title: programme.title || `Recording ${id}`, from_ms: programme.from_ms });
    const duration_s = (Math.min(programme.to_ms, Date.now()) - programme.from_ms) / 1000;
    const at = Number(new URLSearchParams(location.hash.split("?")[1]).get("t")) || 0;
    player.play({
      live: false, duration_s, fragments: `media/recording/${id}/fmp4.m3u8`,
      // The gateway's bytes are a scale of time (docs/gateway.md), so a place in time is a share of the length.
      open: (seconds) => ({ url: `media/recording/${id}.ts`, fromByte: (length) => Math.floor(length * seconds / duration_s / 188) * 188 }),
    }, at);
    draw();
  }

  function openPast(channel, fromMs, toMs) {
    wanted = { kind: "past", channel, from_ms: fromMs };
    playlist(`media/past/${channel}.ts?from=${fromMs}`, `channel-${channel}`);
    player.play({
      live: false, duration_s: ((toMs || Date.now()) - fromMs) / 1000,
      open: (seconds) => ({ url: `media/past/${channel}.ts?from=${Math.round(fromMs + seconds * 1000)}` }),
    });
    draw();
  }

  function times(position) {
    const { item } = player;
    if (!item || item.live) return "";
    const at = wanted?.from_ms ? ` · ${clock(wanted.from_ms + position * 1000)}` : "";
    return `${place(position)} of ${place(item.duration_s)}${at}`;
  }

  let lastBytes = { at: 0, received: 0, bps: null };
  function draw() {
    const { item, state } = player;
    const channel = channels().find((each) => each.id === wanted?.channel);
    const name = channel ? `${channel.id} ${channel.name}` : wanted?.channel ? `Channel ${wanted.channel}` : "Watch";
    say(title, wanted?.kind === "recording" && wanted.title ? wanted.title : name);
    say(sub, wanted?.kind === "channel" ? (channel ? `${channel.state}${channel.cause && channel.state === "inactive" ? `: ${channel.cause}` : ""}` : "")
      : wanted?.from_ms ? `Recorded from ${name}, ${moment(wanted.from_ms)}` : "");
    attribute(stage, "data-state", state);
    const texts = { opening: "Opening…", waiting: "Waiting for more…", idle: "" };
    if (state !== "playing") say(message, player.text || texts[state] || (video.paused && state === "playing" ? "Paused" : ""));
    else say(message, player.quiet && video.muted ? "Muted by the browser: press m for sound." : "");
    attribute(message, "class", `message ${state}`);
    refused.hidden = !(player.refused.length && state !== "failed");
    say(refused, player.refused.length ? `A browser cannot take ${player.refused.join(" and ")}; the rest is shown. VLC and other players can.` : "");

    const paused = video.paused || state === "failed";
    look(playButton, paused ? "play" : "pause", paused ? "Play" : "Pause");
    look(mute, video.muted || video.volume === 0 ? "silent" : "sound", video.muted ? "Unmute" : "Mute");
    seekRow.hidden = !item || item.live;
    live.hidden = !item?.live;
    previous.disabled = next.disabled = channels().length < 2;
    if (item && !item.live) {
      attribute(seek, "max", Math.max(1, Math.floor(item.duration_s)));
      if (!held) {
        const position = Math.max(0, player.position());
        if (document.activeElement !== seek || Math.abs(seek.value - position) >= 1) seek.value = Math.floor(position);
        attribute(seek, "aria-valuetext", times(position));
        say(time, times(position));
      }
    } else say(time, "");
    const now = performance.now();
    if (now - lastBytes.at > 2_000) {
      lastBytes = { at: now, received: player.received, bps: lastBytes.at && player.received >= lastBytes.received ? (player.received - lastBytes.received) * 8000 / (now - lastBytes.at) : null };
    }
    const quality = video.getVideoPlaybackQuality?.();
    keyed(facts, [
      ["Picture", video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "–"],
      ["Codecs", player.streams?.map((stream) => stream.name).join(", ") || "–"],
      ["Received", item?.live ? rate(lastBytes.bps) : "as needed"],
      ["Buffered", `${player.delay().toFixed(1)} s`],
      ["Frames dropped", quality ? `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}` : "–"],
    ], { key: ([each]) => each, make: ([each]) => h("div", {}, h("dt", { text: each }), h("dd")), update: (row, [, text]) => say(row.lastChild, text) });
    for (const [id, entry] of list.keyed ?? []) attribute(entry.firstChild, "aria-current", wanted?.kind === "channel" && id === wanted.channel ? "true" : null);
  }

  go(address);
  return {
    get title() { return "Watch"; }, element, go,
    update(next) {
      site = next;
      keyed(list, site.channels, {
        key: (channel) => channel.id,
        make: (channel) => h("li", {}, h("a", { href: `#/watch/${channel.id}` }, h("span", { class: "number" }), h("span", { class: "name" }), h("span", { class: "badge" }, h("span", { class: "shape", "aria-hidden": "true" }), h("span")))),
        update: (row, channel) => {
          const [number, name, state] = row.firstChild.children;
          say(number, String(channel.id));
          say(name, channel.name);
          attribute(state, "data-state", channel.state);
          say(state.lastChild, channel.state);
        },
      });
      if (wanted?.waiting) pick();
      draw();
    },
    close() { player.close(); clearTimeout(digitsTimer); },
  };

  function look(button, name, label) {
    if (button.dataset.symbol !== name) {
      button.dataset.symbol = name;
      button.replaceChildren(symbol(name));
    }
    attribute(button, "aria-label", label);
    attribute(button, "title", label);
  }
}

const SYMBOLS = {
  play: "M7 5v14l12-7z", pause: "M7 5h3.500v14H7zM13.5 5H17v14h-3.500z", up: "M12 7l6 8H6z", down: "M12 17l6-8H6z",
  sound: "M4 9.500v5h3.500L12 19V5L7.5 9.500zM15 8.500a5 5 0 0 1 0 7v-1.800a3 3 0 0 0 0-3.400zM15 5a8 8 0 0 1 0 14v-1.900a6.5 6.5 0 0 0 0-10.200z",
  silent: "M4 9.500v5h3.500L12 19V5L7.5 9.500zM15 9.700l1.300-1.300 2.200 2.300 2.200-2.300L22 9.700 19.800 12 22 14.300l-1.300 1.300-2.200-2.300-2.200 2.300L15 14.300 17.200 12z",
  full: "M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z",
};

function symbol(name) {
  const space = "http://www.w3.org/2000/svg";
  const element = document.createElementNS(space, "svg");
  element.setAttribute("viewBox", "0 0 24 24");
  element.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SYMBOLS[name]);
  element.append(path);
  return element;
}
