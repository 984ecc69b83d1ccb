// What is live: the site and its events as the server tells them, and whether it still does.

import { ask } from "./api.js";

/** After so long a silence the server is asked whether it still serves: nothing need have changed. */
const SILENCE_MS = 8_000;
const RETRY_MS = [500, 1_000, 2_000, 5_000];

export const live = {
  site: null,
  at: null,
  connected: false,
  /** Whether the site asks for an account to be looked at. */
  locked: false,
  listeners: new Set(),
  eventListeners: new Set(),
  attempt: 0,

  start() {
    this.connect();
    setInterval(() => this.watch(), 1_000);
    // A phone that wakes up must not show what was true when it fell asleep.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.connected) this.connect();
    });
  },

  connect() {
    clearTimeout(this.timer);
    this.source?.close();
    const source = new EventSource("/api/v1/live");
    this.source = source;
    this.heard = performance.now();
    source.addEventListener("site", (message) => {
      this.hear();
      this.site = JSON.parse(message.data);
      this.at = Date.now();
      this.tell();
    });
    source.addEventListener("events", (message) => {
      this.hear();
      const news = JSON.parse(message.data);
      const events = Array.isArray(news) ? news : news.events;
      for (const listener of this.eventListeners) listener(events);
    });
    source.addEventListener("alive", () => this.hear());
    source.addEventListener("open", () => this.hear());
    source.addEventListener("error", () => {
      source.close();
      if (this.source === source) this.lose();
    });
  },

  hear() {
    this.heard = performance.now();
    this.attempt = 0;
    this.locked = false;
    if (!this.connected) {
      this.connected = true;
      this.tell();
    }
  },

  async lose() {
    const { source } = this;
    this.connected = false;
    this.tell();
    // An EventSource does not tell why it was refused.
    const why = await ask("HEAD", "site").catch((refusal) => refusal.status);
    if (this.source !== source) return;
    if (why === 401 || why === 403) {
      this.locked = true;
      this.tell();
      return; // until somebody logs in
    }
    const wait = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)];
    this.attempt += 1;
    this.timer = setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
  },

  async watch() {
    if (!this.connected || performance.now() - this.heard < SILENCE_MS) return;
    this.heard = performance.now();
    const source = this.source;
    try {
      await fetch("/api/v1/health", { cache: "no-store", signal: AbortSignal.timeout(4_000) });
    } catch {
      if (this.source !== source || !this.connected) return;
      source.close();
      this.lose();
    }
  },

  tell() {
    for (const listener of this.listeners) listener();
  },
};
