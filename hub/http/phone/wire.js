// The Parler wire as this phone speaks it: ids, signatures, a connection to one hub.

const subtle = crypto.subtle;
const utf8 = new TextEncoder();
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const CHALLENGE = /^parler-auth:v1:[0-9a-f]{12}:[0-9]{1,16}:[0-9a-f-]{36}$/;
const ANSWER_MS = 15000;
export const REMOTE = "com.parler.remote";

export const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
export const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

function checksum(bytes) {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 0x8000 ? (sum << 1) ^ 0x1021 : sum << 1) & 0xffff;
  }
  return sum;
}

export function agentId(key) {
  const raw = [0xa0, ...key];
  const sum = checksum(raw);
  raw.push(sum & 255, sum >> 8);
  let text = "", held = 0, bits = 0;
  for (const byte of raw) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
    held &= 255;
  }
  return bits ? text + ALPHABET[(held << (5 - bits)) & 31] : text;
}

export function publicKey(id) {
  const raw = [];
  let held = 0, bits = 0;
  for (const char of id) {
    held = ((held << 5) | ALPHABET.indexOf(char)) & 0xffff;
    if ((bits += 5) >= 8) raw.push((held >> (bits -= 8)) & 255);
  }
  const key = new Uint8Array(raw.slice(1, 33));
  if (agentId(key) !== id) throw new Error("that is no agent's id");
  return key;
}

export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  // All our names of fields are ASCII: their order in UTF-16 is that of the code points.
  const fields = Object.keys(value).sort();
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}

const signedBytes = (from, parts, { target, ts, uid }) =>
  utf8.encode(canonical({ from, parts, target, ts, uid, v: 1 }));

export async function signParts(me, target, parts) {
  const about = { target, ts: Date.now(), uid: crypto.randomUUID() };
  const made = await subtle.sign("Ed25519", me.key, signedBytes(me.id, parts, about));
  return [...parts, { kind: "com.parler.sig", sig: base64(made), alg: "ed25519", v: 1, ...about }];
}

export async function isSignedBy(id, message) {
  const sig = message.parts.find((part) => part.kind === "com.parler.sig");
  if (!sig || message.from.id !== id || sig.target?.room !== message.room) return false;
  const parts = message.parts.filter((part) => part.kind !== "com.parler.sig");
  const key = await subtle.importKey("raw", publicKey(id), "Ed25519", false, ["verify"]);
  return subtle.verify("Ed25519", key, bytesOf(sig.sig), signedBytes(id, parts, sig));
}

// Each message has a key of its own: nothing is ever said twice under one.
async function keyOf(line, from, to, counter) {
  const info = utf8.encode(`parler-sealed:v1:remote\n${from}:${to}:${line.room}:${counter}`);
  const params = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  const made = new Uint8Array(await subtle.deriveBits(params, line.secret, 352));
  const key = await subtle.importKey("raw", made.slice(0, 32), "AES-GCM", false, ["encrypt", "decrypt"]);
  return [key, { name: "AES-GCM", iv: made.slice(32) }];
}

export async function seal(line, from, to, counter, value) {
  const text = utf8.encode(JSON.stringify(value));
  const padded = new Uint8Array(Math.ceil(text.length / 256) * 256).fill(32);
  padded.set(text);
  const [key, params] = await keyOf(line, from, to, counter);
  return { kind: REMOTE, v: 1, n: counter, box: base64(await subtle.encrypt(params, key, padded)) };
}

export async function open(line, from, to, part) {
  const [key, params] = await keyOf(line, from, to, part.n);
  const text = await subtle.decrypt(params, key, bytesOf(part.box));
  return JSON.parse(new TextDecoder().decode(text));
}

export async function comparison(line, phone, person) {
  const info = utf8.encode(`parler-sealed:v1:remote\ncompare:${phone}:${person}:${line.room}`);
  const params = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  const made = new DataView(await subtle.deriveBits(params, line.secret, 64));
  const number = String(made.getBigUint64(0) % 1000000n).padStart(6, "0");
  return `${number.slice(0, 3)} ${number.slice(3)}`;
}

export class Refused extends Error {
  constructor(frame) {
    super(frame.message);
    this.code = frame.code;
  }
}

export class Hub {
  // One connection. Replies come in the order of their requests.
  static async dial(url, me, joinSecret, heard, noted, lost) {
    const hub = new Hub();
    hub.waiting = [];
    hub.socket = new WebSocket(url);
    hub.socket.onmessage = (event) => hub.take(JSON.parse(event.data), heard, noted);
    await new Promise((done, failed) => {
      hub.socket.onopen = done;
      hub.socket.onclose = hub.socket.onerror = () => failed(new Error("the hub is not reached"));
    });
    hub.socket.onerror = null;
    hub.socket.onclose = () => {
      for (const one of hub.waiting.splice(0)) one.failed(new Error("the connection was lost"));
      lost();
    };
    const hello = { op: "hello", id: me.id, name: me.name };
    const { nonce } = await hub.ask(hello);
    if (!CHALLENGE.test(nonce)) throw new Error("the hub wants something else signed than a challenge");
    const sig = base64(await subtle.sign("Ed25519", me.key, utf8.encode(nonce)));
    await hub.ask({ ...hello, nonce, sig, ...(joinSecret ? { secret: joinSecret } : {}) });
    return hub;
  }

  ask(frame) {
    return new Promise((done, failed) => {
      const timer = setTimeout(() => this.socket.close(), ANSWER_MS);
      const ended = (then) => (value) => (clearTimeout(timer), then(value));
      this.waiting.push({ done: ended(done), failed: ended(failed) });
      if (this.socket.readyState !== WebSocket.OPEN) {
        this.waiting.pop();
        return ended(failed)(new Error("the connection was lost"));
      }
      this.socket.send(JSON.stringify(frame));
    });
  }

  take(frame, heard, noted) {
    if (frame.type === "delivery") return heard(frame.message);
    if (frame.type === "event") return noted(frame);
    const one = this.waiting.shift();
    if (frame.type === "error") one?.failed(new Refused(frame));
    else one?.done(frame);
  }

  close() {
    this.socket.close();
  }
}
