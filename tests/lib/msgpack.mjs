// A small MessagePack codec of the tests' own, so that a bug in the SDK's codec cannot hide one in the server's.
// Strings are str, Buffers bin, numbers ints where they are integers; ext types are not used by the protocol.

export function encode(value) {
  const parts = [];
  write(value, parts);
  return Buffer.concat(parts);
}

function head(parts, byte, length, bytes) {
  const out = Buffer.alloc(1 + bytes);
  out[0] = byte;
  out.writeUIntBE(length, 1, bytes);
  parts.push(out);
}

function write(value, parts) {
  if (value === null || value === undefined) parts.push(Buffer.from([0xc0]));
  else if (value === true || value === false) parts.push(Buffer.from([value ? 0xc3 : 0xc2]));
  else if (typeof value === 'number') parts.push(number(value));
  else if (typeof value === 'string') string(value, parts);
  else if (Buffer.isBuffer(value)) {
    const n = value.length;
    if (n < 0x100) head(parts, 0xc4, n, 1);
    else if (n < 0x10000) head(parts, 0xc5, n, 2);
    else head(parts, 0xc6, n, 4);
    parts.push(value);
  } else if (Array.isArray(value)) {
    const n = value.length;
    if (n < 16) parts.push(Buffer.from([0x90 | n]));
    else if (n < 0x10000) head(parts, 0xdc, n, 2);
    else head(parts, 0xdd, n, 4);
    for (const item of value) write(item, parts);
  } else {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    if (entries.length < 16) parts.push(Buffer.from([0x80 | entries.length]));
    else head(parts, 0xde, entries.length, 2);
    for (const [key, item] of entries) {
      string(key, parts);
      write(item, parts);
    }
  }
}

function number(value) {
  if (!Number.isInteger(value) || Object.is(value, -0)) {
    const out = Buffer.alloc(9);
    out[0] = 0xcb;
    out.writeDoubleBE(value, 1);
    return out;
  }
  if (value >= 0 && value < 128) return Buffer.from([value]);
  if (value < 0 && value >= -32) return Buffer.from([256 + value]);
  const out = Buffer.alloc(9);
  out[0] = value < 0 ? 0xd3 : 0xcf;
  if (value < 0) out.writeBigInt64BE(BigInt(value), 1);
  else out.writeBigUInt64BE(BigInt(value), 1);
  return out;
}

function string(text, parts) {
  const bytes = Buffer.from(text);
  const n = bytes.length;
  if (n < 32) parts.push(Buffer.from([0xa0 | n]));
  else if (n < 0x100) head(parts, 0xd9, n, 1);
  else if (n < 0x10000) head(parts, 0xda, n, 2);
  else head(parts, 0xdb, n, 4);
  parts.push(bytes);
}

export function decode(bytes) {
  const reader = { bytes, at: 0 };
  const value = read(reader);
  if (reader.at !== bytes.length) throw new Error(`${bytes.length - reader.at} bytes after the value`);
  return value;
}

function take(reader, count) {
  const { bytes, at } = reader;
  if (at + count > bytes.length) throw new Error('the value ends early');
  reader.at += count;
  return bytes.subarray(at, at + count);
}

const uint = (reader, size) => take(reader, size).readUIntBE(0, size);
const utf8 = new TextDecoder('utf-8', { fatal: true });
const text = (reader, size) => utf8.decode(take(reader, size));
const array = (reader, size) => Array.from({ length: size }, () => read(reader));

function map(reader, size) {
  const out = {};
  for (let i = 0; i < size; i++) {
    const key = read(reader);
    if (typeof key !== 'string') throw new Error(`a map key that is no string: ${typeof key}`);
    out[key] = read(reader);
  }
  return out;
}

function read(reader) {
  const byte = take(reader, 1)[0];
  if (byte < 0x80) return byte;
  if (byte < 0x90) return map(reader, byte & 15);
  if (byte < 0xa0) return array(reader, byte & 15);
  if (byte < 0xc0) return text(reader, byte & 31);
  if (byte >= 0xe0) return byte - 256;
  switch (byte) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: return Buffer.from(take(reader, uint(reader, 1)));
    case 0xc5: return Buffer.from(take(reader, uint(reader, 2)));
    case 0xc6: return Buffer.from(take(reader, uint(reader, 4)));
    case 0xca: return take(reader, 4).readFloatBE(0);
    case 0xcb: return take(reader, 8).readDoubleBE(0);
    case 0xcc: return uint(reader, 1);
    case 0xcd: return uint(reader, 2);
    case 0xce: return uint(reader, 4);
    case 0xcf: return Number(take(reader, 8).readBigUInt64BE(0));
    case 0xd0: return take(reader, 1).readInt8(0);
    case 0xd1: return take(reader, 2).readInt16BE(0);
    case 0xd2: return take(reader, 4).readInt32BE(0);
    case 0xd3: return Number(take(reader, 8).readBigInt64BE(0));
    case 0xd9: return text(reader, uint(reader, 1));
    case 0xda: return text(reader, uint(reader, 2));
    case 0xdb: return text(reader, uint(reader, 4));
    case 0xdc: return array(reader, uint(reader, 2));
    case 0xdd: return array(reader, uint(reader, 4));
    case 0xde: return map(reader, uint(reader, 2));
    case 0xdf: return map(reader, uint(reader, 4));
    default: throw new Error(`unexpected MessagePack byte 0x${byte.toString(16)}`);
  }
}
