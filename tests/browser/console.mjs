// Drives the console in Chromium as people would, and fails with the first claim that does not hold.
//
//   node console.mjs --url https://10.77.0.2:7480 --output FOLDER [--superuser NAME:PASSWORD] [--viewer NAME:PASSWORD]
//                    [--plain http://…] [--recording] [--fragments] [--losing]
//
// Prints a line per claim. Screenshots go to FOLDER. With --losing it ends by printing "lose the server", waits until the page says that
// it is not connected, prints "bring it back", and waits until it is live again. Channels must be the built-in test card.
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options } = parseArgs({ options: {
  url: { type: "string" }, output: { type: "string" }, superuser: { type: "string" }, viewer: { type: "string" }, plain: { type: "string" },
  recording: { type: "boolean" }, fragments: { type: "boolean" }, losing: { type: "boolean" }, chromium: { type: "string", default: "/usr/bin/chromium" },
} });
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** The first picture may take as long as a browser on a loaded machine takes. */
const PICTURE_MS = 15_000;
const WAIT_MS = 10_000;
const WIDE = { width: 1360, height: 860 };
const PHONE = { width: 360, height: 760 };
/** The test card's bars (acquisition/testcard/picture.py), as limited-range video gives them back. */
const BARS = [[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0], [0, 0, 191]];
const BAR_TOLERANCE = 40;
const CARD = { frames: 320, rate: 25, width: 640, height: 360, rulerRow: 343 };
const RECORDING = "What the browser ordered";
const RECORDED_MS = 20_000;
/** How far the picture that is shown may be from the time that was chosen: a group of pictures, and the reading of a running picture. */
const SEEK_TOLERANCE_S = 2.5;

await mkdir(options.output, { recursive: true });
const started = Date.now();
const browser = await chromium.launch({
  executablePath: options.chromium, headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"],
});
const complaints = [];

/** A page of its own browser profile. Refusals that a test provokes are expected by status. */
async function open(more = {}) {
  const context = await browser.newContext({ viewport: WIDE, ignoreHTTPSErrors: true, ...more });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  page.expected = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !page.expected.some((text) => message.text().includes(text))) complaints.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(`page: ${error.stack}`));
  return page;
}

function check(holds, claim) {
  if (!holds) throw new Error(claim);
}

function silent() {
  const said = complaints.splice(0);
  check(said.length === 0, `the page complained:\n${said.join("\n")}`);
}

async function step(name, act) {
  const from = Date.now();
  await act();
  console.log(`ok   ${name} (${((Date.now() - from) / 1000).toFixed(1)} s)`);
}

const go = (page, address) => page.goto(`${options.url}/#/${address}`);
const shot = (page, name) => page.screenshot({ path: `${options.output}/${name}.png` });

async function logIn(page, account) {
  const at = account.indexOf(":");
  await page.getByRole("button", { name: "Log in" }).first().click();
  const form = page.getByRole("dialog");
  await form.getByLabel("Name").fill(account.slice(0, at));
  await form.getByLabel("Password").fill(account.slice(at + 1));
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Log out" }).waitFor();
}

async function accessible(page, name) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  check(serious.length === 0, `${name}: ${serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target.join(" ")} (${failureSummary})`).join("; ")}`).join("\n")}`);
}

/** What the picture shows: mean colours of the seven bars, and where the ruler's block stands (null: nowhere). */
function seen(page) {
  return page.evaluate(({ width, height, rulerRow }) => {
    const video = document.querySelector("video");
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0, width, height);
    const bars = Array.from({ length: 7 }, (_, n) => [...context.getImageData(Math.round((n + 0.5) * width / 7), 6, 1, 1).data.slice(0, 3)]);
    const row = context.getImageData(0, rulerRow, width, 1).data;
    let block = null;
    for (let x = 0; x < width && block === null; x += 1) if (row[4 * x] > 180 && row[4 * x + 1] > 110 && row[4 * x + 2] < 90) block = x;
    const quality = video.getVideoPlaybackQuality();
    return { bars, block, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames, time: video.currentTime, size: [video.videoWidth, video.videoHeight], state: document.querySelector(".stage").dataset.state };
  }, CARD);
}

/** Waits for moving pictures and looks whether they are the test card's. */
async function plays(page, frames = 40) {
  await page.waitForFunction(() => document.querySelector("video")?.readyState >= 3 && document.querySelector(".stage").dataset.state === "playing", null, { timeout: PICTURE_MS }).catch(async () => {
    throw new Error(`no picture: ${await page.locator(".message").textContent()}`);
  });
  const before = await seen(page);
  await page.waitForFunction((goal) => document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames >= goal, before.frames + frames);
  const after = await seen(page);
  check(after.time > before.time, `time stands still at ${after.time}`);
  check(after.size[0] === CARD.width && after.size[1] === CARD.height, `the picture has ${after.size}`);
  for (const [n, bar] of BARS.entries()) {
    check(bar.every((level, part) => Math.abs(level - after.bars[n][part]) <= BAR_TOLERANCE), `bar ${n} is ${after.bars[n]}, not ${bar}`);
  }
  check(after.block !== before.block, "the block on the test card's ruler does not move");
  return after;
}

const heading = (page, text) => page.getByRole("heading", { level: 1, name: text }).waitFor();

async function firstScreen() {
  const page = await open();
  await go(page, "site");
  await page.getByText("live", { exact: true }).first().waitFor();
  await page.locator(".node").first().waitFor();
  const kinds = await page.locator(".node").evaluateAll((nodes) => nodes.map((node) => node.getAttribute("aria-label")));
  for (const kind of ["acquisition server", "channel", "push server", "network"]) check(kinds.some((label) => label.includes(`; ${kind}`)), `no ${kind} in the picture: ${kinds}`);
  await shot(page, "site");
  // By keyboard alone: into the picture, to its right, choose.
  await page.locator('.node[tabindex="0"]').focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  const title = await page.locator("#details-title").textContent();
  check(title.startsWith("Channel"), `chosen by keyboard: ${title}`);
  // Figures change each second; what has the focus must keep it.
  const focused = await page.evaluateHandle(() => document.activeElement);
  await page.waitForTimeout(2_500);
  check(await page.evaluate((element) => element === document.activeElement && element.isConnected, focused), "the focus was lost when figures changed");
  await shot(page, "site-chosen");
  await page.getByRole("button", { name: "Tables" }).click();
  await page.getByRole("table", { name: "Push servers" }).waitFor();
  await go(page, "channels");
  await page.getByLabel("Search").fill("no such channel");
  await page.getByText("No channel is like that.").waitFor();
  silent();
  await page.context().close();
}

async function watching() {
  const page = await open();
  await go(page, "watch/1");
  await plays(page);
  await shot(page, "watch");
  await page.locator(".stage").focus();
  const zap = async (key, name) => {
    await page.keyboard.press(key);
    await heading(page, name);
    const from = Date.now();
    await plays(page, 15);
    console.log(`     ${key}: pictures of ${name} after ${Date.now() - from} ms, with 15 frames of them`);
  };
  await zap("PageDown", /^2 /);
  await zap("ArrowUp", /^1 /);
  await page.keyboard.press("2");
  await heading(page, /^2 /);
  await plays(page, 15);
  await page.keyboard.press(" ");
  await page.waitForFunction(() => document.querySelector("video").paused);
  if (options.fragments) {
    await page.getByLabel("Delivered as").selectOption("fmp4");
    await plays(page);
  }
  await accessible(page, "watch");
  silent();
  await page.context().close();
}

/** A transport stream that says by its tables that it has these stream types (ISO/IEC 13818-1), and if need be an H.264 parameter set. */
function tables(types) {
  const packet = (pid, start, payload) => {
    const bytes = Buffer.alloc(188, 0xff);
    bytes.set([0x47, (start ? 0x40 : 0) | pid >> 8, pid & 0xff, 0x10]);
    bytes.set(payload, 4);
    return bytes;
  };
  const section = (id, body) => [0, id, 0xb0, body.length + 9, 0, 1, 0xc1, 0, 0, ...body, 0, 0, 0, 0];
  const streams = types.flatMap((type, n) => [type, 0xe1, n, 0xf0, 0]);
  const picture = [0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0, 0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x67, 0x64, 0, 0x1f, 0xac];
  return Buffer.concat([packet(0, true, section(0, [0, 1, 0xf0, 0])), packet(0x1000, true, section(2, [0xe1, 0, 0xf0, 0, ...streams])), packet(0x100, true, picture)]);
}

async function codecs() {
  const page = await open();
  await go(page, "site");
  const read = (types) => page.evaluate(async (bytes) => {
    const { CodecReader, playable } = await import("/transport_stream.js");
    const reader = new CodecReader();
    // Cut anywhere: as a connection gives it.
    for (let at = 0; at < bytes.length; at += 77) reader.push(Uint8Array.from(bytes.slice(at, at + 77)));
    const { mime, refused } = playable(reader.streams, "video/mp2t", (kind) => MediaSource.isTypeSupported(kind));
    return { mime, refused: refused.map(({ name }) => name).join(", ") };
  }, [...tables(types)]);
  const expected = [
    [[0x1b, 0x0f], 'video/mp2t; codecs="avc1.64001f,mp4a.40.2"', ""],
    [[0x1b, 0x03], 'video/mp2t; codecs="avc1.64001f,mp4a.69"', ""],
    [[0x1b, 0x81], 'video/mp2t; codecs="avc1.64001f"', "AC-3"],
    [[0x02, 0x81], null, "MPEG-2 video, AC-3"],
    [[0x24, 0x0f], null, "HEVC (H.265)"],
  ];
  for (const [types, mime, refused] of expected) {
    const told = await read(types);
    check(told.mime === mime && told.refused === refused, `stream types ${types}: ${JSON.stringify(told)}`);
  }
  // And what people are told.
  await page.route("**/media/channel/1.ts", (route) => route.fulfill({ contentType: "video/mp2t", body: tables([0x02, 0x81]) }));
  await go(page, "watch/1");
  await page.getByText("No browser can show this here: the stream is MPEG-2 video and AC-3.").waitFor();
  check(await page.getByRole("link", { name: /Playlist for VLC/ }).getAttribute("download") !== null, "no playlist beside it");
  await shot(page, "codec");
  const counts = await page.evaluate(async (text) => {
    const { readTopology } = await import("/topology_text.js");
    const { acquisition_server: acquisition, channel, push_server: push } = readTopology(text);
    return [acquisition.length, acquisition[0].input[0].url, channel[0].service, push[0].record.keep, push[0].destination[0].serves.join(), push[2].destination.length].join(" ");
  }, await readFile(new URL("../../topology.toml", import.meta.url), "utf8"));
  check(counts === "2 rtp://239.192.9.5:5004?interface=10.0.0.3 4164 7d 10.0.1.0/24,fd00:1::/64 2", `the example topology is read as ${counts}`);
  silent();
  await page.context().close();
}

/** Orders what is to be played later: from a little before now, which is held already, to a little after. */
async function order() {
  const page = await open();
  await go(page, "recordings");
  await logIn(page, options.superuser);
  const form = page.getByRole("region", { name: "Order a recording" });
  await form.getByLabel("Title").fill(RECORDING);
  const local = (ms) => page.evaluate((at) => new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19), Date.now() + ms);
  await form.getByLabel("From").fill(await local(-5_000));
  await form.getByLabel("To").fill(await local(RECORDED_MS - 5_000));
  await form.getByRole("button", { name: "Record" }).click();
  await form.getByText("Ordered.").waitFor();
  await page.getByRole("link", { name: RECORDING }).waitFor();
  silent();
  await page.context().close();
}

async function recorded() {
  const page = await open();
  await go(page, "recordings");
  const link = page.getByRole("link", { name: RECORDING });
  await link.waitFor();
  await shot(page, "recordings");
  await link.click();
  const first = await plays(page);
  const seek = page.getByLabel("Time in the recording");
  const [at, duration] = await seek.evaluate((input) => [Number(input.value), Number(input.max)]);
  const goal = Math.floor(duration * 0.6);
  check(goal - at > 3, `the recording of ${duration} s is too short to seek in`);
  await seek.evaluate((input, value) => {
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, goal);
  await page.waitForTimeout(300);
  const second = await plays(page, 10);
  const now = Number(await seek.inputValue());
  check(now >= goal - 1 && now < goal + 6, `sought ${goal} s, shown as ${now} s`);
  // The test card's ruler is a clock of 12.8 s: the picture must have leapt as the seek bar says.
  const round = CARD.frames / CARD.rate;
  const moved = (second.block - first.block) / 2 / CARD.rate;
  const off = ((moved - (now - at)) % round + round * 1.5) % round - round / 2;
  check(Math.abs(off) <= SEEK_TOLERANCE_S, `the picture moved ${moved.toFixed(1)} s, the seek bar ${now - at} s (modulo ${round} s)`);
  await shot(page, "recording");
  silent();
  await page.context().close();
}

async function wrongPassword() {
  const page = await open();
  page.expected.push("401");
  await go(page, "site");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill(options.superuser.split(":")[0]);
  await page.getByRole("dialog").getByLabel("Password").fill("certainly not this one");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: /wrong/i }).waitFor();
  check(await page.getByRole("button", { name: "Log out" }).count() === 0, "a wrong password logged in");
  await shot(page, "wrong-password");
  await page.context().close();
  silent();
}

async function plainPassword() {
  const page = await open();
  page.expected.push("403");
  await page.goto(`${options.plain}/#/site`);
  await page.getByRole("button", { name: "Log in" }).click();
  const links = page.getByRole("dialog").getByRole("link", { name: /^https:/ });
  await links.first().waitFor();
  await page.getByRole("dialog").getByLabel("Name").fill("somebody");
  await page.getByRole("dialog").getByLabel("Password").fill("some long password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByRole("link", { name: /^https:/ }).waitFor();
  await page.context().close();
  silent();
}

async function edit() {
  const page = await open();
  await go(page, "edit");
  await logIn(page, options.superuser);
  await page.getByRole("button", { name: /^Change channel 1 / }).click();
  const form = page.getByRole("dialog");
  await form.getByLabel("Name", { exact: true }).fill("Renamed");
  await form.getByRole("button", { name: "Try it" }).click();
  const difference = page.getByRole("region", { name: "What would change" });
  await difference.waitFor();
  check(/\+.*Renamed/.test(await difference.textContent()), `the difference is ${await difference.textContent()}`);
  await shot(page, "difference");
  await page.getByRole("button", { name: "Carry out" }).click();
  await page.getByText("Done: ").first().waitFor();
  await page.getByRole("button", { name: "Change channel 1 Renamed" }).waitFor();
  await go(page, "channels");
  await page.getByRole("link", { name: "1 Renamed" }).waitFor();

  // A fault is told at its place.
  await go(page, "edit");
  page.expected.push("422");
  await page.getByRole("button", { name: "Change channel 1 Renamed" }).click();
  await form.getByLabel("Port").fill("70000");
  await form.getByRole("button", { name: "Try it" }).click();
  await form.locator('[aria-invalid="true"]').waitFor();
  await shot(page, "fault");
  await form.getByRole("button", { name: "Cancel" }).click();

  // Two at once: the second is told what the first has done, and loses nothing.
  const other = await open();
  await go(other, "edit");
  await logIn(other, options.superuser);
  await other.getByRole("button", { name: "Change channel 1 Renamed" }).waitFor();
  await page.getByRole("button", { name: /^Change channel 2 / }).click();
  await form.getByLabel("Group").fill("Hers");
  await form.getByRole("button", { name: "Try it" }).click();
  await page.getByRole("button", { name: "Carry out" }).click();
  await page.getByText("Done: ").first().waitFor();
  other.expected.push("409");
  await other.getByRole("button", { name: "Change channel 1 Renamed" }).click();
  await other.getByRole("dialog").getByLabel("Group").fill("His");
  await other.getByRole("button", { name: "Try it" }).click();
  const told = other.getByRole("region", { name: "What the other has changed" });
  await told.waitFor();
  check(/\+.*Hers/.test(await told.textContent()), `the other's difference is ${await told.textContent()}`);
  await shot(other, "conflict");
  await other.getByRole("button", { name: "Go on with the new file" }).click();
  await other.getByRole("button", { name: "Try it" }).click();
  await other.getByRole("button", { name: "Carry out" }).click();
  await other.getByText("Done: ").first().waitFor();
  const text = await other.evaluate(async () => (await (await fetch("/api/v1/topology")).json()).text);
  check(text.includes("Hers") && text.includes("His") && text.includes("Renamed"), "an edit was lost");
  await go(other, "audit");
  await other.getByRole("table", { name: "Audit" }).getByRole("row").nth(1).waitFor();
  await shot(other, "audit");
  await other.context().close();
  silent();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Log in" }).first().waitFor();
  await page.context().close();
}

async function refusedViewer() {
  const page = await open();
  await go(page, "site");
  await logIn(page, options.viewer);
  check(await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Topology" }).count() === 0, "a viewer is offered the topology");
  await go(page, "edit");
  await page.getByText("This needs the role operator").waitFor();
  // And by hand, with everything that his session has.
  page.expected.push("403");
  const status = await page.evaluate(async () => {
    const { token } = await (await fetch("/api/v1/session")).json();
    const body = JSON.stringify({ base: "", edits: [{ remove: { table: { channel: 1 } } }], trial: false });
    return (await fetch("/api/v1/topology", { method: "POST", headers: { "content-type": "application/json", "X-Masthead-Token": token }, body })).status;
  });
  check(status === 403, `a viewer's edit was answered ${status}`);
  await shot(page, "viewer");
  await page.context().close();
  silent();
}

async function everywhereAccessible() {
  const views = ["site", "channels", "channel/1", "viewers", "recordings", "events"];
  if (options.superuser) views.push("edit", "accounts", "audit");
  await Promise.all(["light", "dark"].map(async (colorScheme) => {
    const page = await open({ colorScheme, reducedMotion: "reduce" });
    await go(page, "site");
    if (options.superuser) await logIn(page, options.superuser);
    for (const view of views) {
      await go(page, view);
      await page.locator("main h1").waitFor({ state: "attached" });
      await page.waitForTimeout(250);
      await accessible(page, `${view} in ${colorScheme}`);
      await shot(page, `${view.replace("/", "-")}-${colorScheme}`);
    }
    await page.setViewportSize(PHONE);
    for (const view of colorScheme === "light" ? views : ["site"]) {
      await go(page, view);
      await page.waitForTimeout(200);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(wider <= 0, `${view} is ${wider} px wider than a phone`);
      await shot(page, `${view.replace("/", "-")}-${colorScheme}-phone`);
    }
    await accessible(page, `phone in ${colorScheme}`);
    silent();
    await page.context().close();
  }));
}

async function losing() {
  const page = await open();
  page.expected.push("Failed to load resource", "net::");
  await go(page, "site");
  await page.locator(".node").first().waitFor();
  console.log("lose the server");
  await page.getByText(/not connected, last at \d\d:\d\d:\d\d/).waitFor({ timeout: 20_000 });
  check(await page.locator(".node").count() > 0, "what was last known is gone from the page");
  await shot(page, "not-connected");
  console.log("bring it back");
  await page.getByText("live", { exact: true }).first().waitFor({ timeout: 20_000 });
  await page.context().close();
}

let status = 0;
try {
  await step("the first screen loads without an error, and goes by keyboard", firstScreen);
  if (options.recording) await step("an operator orders a recording", order);
  await step("a channel plays, and the keys zap", watching);
  await step("what a browser cannot show is said plainly", codecs);
  if (options.superuser) await step("a wrong password is refused", wrongPassword);
  if (options.plain) await step("a password over plain HTTP is refused, with the way to go", plainPassword);
  if (options.superuser) await step("a superuser edits, is told of faults, and of another's edit", edit);
  if (options.viewer) await step("a viewer's account is refused an edit", refusedViewer);
  if (options.recording) await step("a recording plays, and seeking goes there", recorded);
  await step("no view has a serious finding, in light, dark and on a phone", everywhereAccessible);
  if (options.losing) await step("the page says that the server is away, and comes back", losing);
  console.log(`all claims hold, ${((Date.now() - started) / 1000).toFixed(1)} s; screenshots in ${options.output}`);
} catch (error) {
  status = 1;
  console.log(`FAILED ${error.stack}`);
  const pages = browser.contexts().flatMap((context) => context.pages());
  for (const [n, page] of pages.entries()) await shot(page, `failed-${n}`).catch(() => undefined);
  for (const complaint of complaints) console.log(complaint);
  console.log(`screenshots in ${options.output}`);
}
await browser.close();
process.exit(status);
