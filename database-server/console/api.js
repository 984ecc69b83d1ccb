// The API: one way to ask, one kind of failure, and who one is.

const BASE = "/api/v1/";
const TOKEN_HEADER = "X-Masthead-Token";

/** What the API refused, or that it could not be reached (`status` 0). */
export class Refusal extends Error {
  constructor(status, error) {
    super(error.message ?? `status ${status}`);
    this.status = status;
    this.code = error.code ?? "unknown";
    this.details = error;
  }
}

let token = null;

/** Asks the API; null for an empty answer. Throws `Refusal`. */
export async function ask(method, path, body) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token && method !== "GET" && method !== "HEAD") headers[TOKEN_HEADER] = token;
  let response;
  try {
    response = await fetch(BASE + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new Refusal(0, { code: "unreachable", message: "The database server cannot be reached." });
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // An error page of something between us and the server.
  }
  if (!response.ok) {
    if (response.status === 401 && session.account && path !== "session") session.set(null);
    throw new Refusal(response.status, answer?.error ?? { message: `The server answered ${response.status} ${response.statusText}.` });
  }
  return answer;
}

const RANK = { viewer: 1, operator: 2, superuser: 3 };

/** Who is logged in here; listeners hear of each change. */
export const session = {
  account: null,
  listeners: new Set(),

  async refresh() {
    try {
      this.set(await ask("GET", "session"));
    } catch {
      this.set(null);
    }
  },

  async open(name, password) {
    this.set(await ask("POST", "session", { name, password }));
  },

  async close() {
    try {
      await ask("DELETE", "session");
    } finally {
      this.set(null);
    }
  },

  set(account) {
    const known = account?.name ? account : null;
    token = known?.token ?? token;
    if (!known) token = null;
    this.account = known;
    for (const listener of this.listeners) listener(known);
  },

  /** Whether the one who is logged in has `role` or a higher one. */
  may(role) {
    return (RANK[this.account?.role] ?? 0) >= RANK[role];
  },
};
