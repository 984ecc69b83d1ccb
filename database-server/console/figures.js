// Figures as people read them: rates, sizes, times, counts.

const NUMBER = new Intl.NumberFormat("en-GB");
const UNKNOWN = "–";

/** 5.02 Mbit/s. */
export function rate(bps) {
  if (bps === null || bps === undefined) return UNKNOWN;
  if (bps === 0) return "0";
  if (bps < 1e6) return `${Math.round(bps / 1e3)} kbit/s`;
  return bps < 1e9 ? `${(bps / 1e6).toFixed(bps < 1e7 ? 2 : 1)} Mbit/s` : `${(bps / 1e9).toFixed(2)} Gbit/s`;
}

export function bytes(count) {
  if (count === null || count === undefined) return UNKNOWN;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const step = count < 1 ? 0 : Math.min(Math.floor(Math.log10(count) / 3), units.length - 1);
  return `${(count / 1000 ** step).toFixed(step < 2 ? 0 : 1)} ${units[step]}`;
}

export function count(number) {
  return number === null || number === undefined ? UNKNOWN : NUMBER.format(number);
}

/** "3 channels", "1 channel". */
export function many(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}

const pad = (number) => String(number).padStart(2, "0");

/** The time of day, with seconds. */
export function clock(ms) {
  const date = new Date(ms);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** Date and time; the date is left out today. */
export function moment(ms) {
  const date = new Date(ms);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock(ms) : `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(ms)}`;
}

/** 1:02:03, 2:03: a place in a recording. */
export function place(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

/** 2 h 5 min, 12 s: how long. */
export function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** For `datetime-local` fields, in the reader's own time. */
export function field(ms) {
  const date = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 19);
}
