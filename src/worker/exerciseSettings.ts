/**
 * What an administrator may have set, for the exercise: persistent, one-packet, FTP, any-port and
 * marked services, rules that give marks, paths of their own MTU, and sysctls that are now on, now
 * off. Made before anything is sealed; `turn` allocates nothing.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import { PROTOCOL_SCTP } from '../net/sctp';
import type { Address6 } from '../table/address6';
import { ANY_INTERFACE, ANY_PORT, encodeMarkRule, SIDE_EITHER } from '../table/mark';
import type { Tables } from '../table/memory';
import { METHOD_DR, METHOD_FULLNAT, METHOD_NAT } from '../table/realServer';
import type { SettingName } from '../table/setting';
import {
  framesTo,
  type Repeated,
  type Target,
  towards,
  VIRTUAL_ADDRESS,
  VIRTUAL_ADDRESS6,
} from './exerciseFrames';
import {
  addServer,
  addService,
  type Place,
  tunnel,
  USUAL,
  type Way,
  way,
} from './exerciseServices';

const ALL = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];
const FIRST_PORT = 5000;
const FTP_PORT = 21;
const FTP_DATA_PORT = 20;
const MARK = 7;
const BYPASS_MARK = 8;
const TICKS = 40;
const NETMASK4 = 0xffffff00 | 0;
const NETMASK6 = 72;
/** Ports of marked frames; the second mark's service has no real server. */
const MARKED_PORT = 5900;
const BYPASSED_PORT = 5901;
/** Beyond the director: hosts of the servers' net that are no real server. */
const BEYOND = 0x0a020014;
const BEYOND6: Address6 = [0xfd020000 | 0, 0, 0, 0x14];

/** Sysctls and what they are when on, the first in one of two blocks, the next in one of four. */
const SWITCHES: readonly (readonly [SettingName, number, number])[] = [
  ['connReuseMode', 1, 2],
  ['expireNodestConn', 0, 1],
  ['expireQuiescentTemplate', 0, 1],
  ['sloppyTcp', 0, 1],
  ['sloppySctp', 0, 1],
  ['natIcmpSend', 0, 1],
  ['cacheBypass', 0, 1],
  ['scheduleIcmp', 0, 1],
  ['secureTcp', 0, 1],
  ['dropRate', 0, 3],
  ['pmtuDisc', 1, 0],
  ['toa', 1, 0],
  ['connExpireTcpRst', 1, 0],
  ['anyPortServices', 0, 1],
  ['ftpServices', 0, 1],
  ['lblcExpiration', 864_000, 20],
  ['lblcrExpiration', 864_000, 20],
];

export class Switches {
  private readonly tables: Tables;

  constructor(tables: Tables) {
    this.tables = tables;
  }

  /** `block`: a number that grows; in every second block all is as by default. */
  turn(block: number): void {
    const { settings } = this.tables;
    // Scattered, so that settings meet in all combinations.
    const bits = (block & 1) === 0 ? 0 : Math.imul(block, 0x9e3779b1) >>> 8;
    for (let at = 0; at < SWITCHES.length; at++) {
      const entry = SWITCHES[at]!;
      settings.set(entry[0], entry[(bits >>> at) & 1 ? 2 : 1] as number);
    }
  }
}

/** Frames that clients send, and the real servers of persistent services. */
export interface Settings {
  readonly frames: Repeated[];
  readonly persistent: number[];
}

/** Makes the services. */
export function addSettings(tables: Tables): Settings {
  const frames: Repeated[] = [];
  const persistent: number[] = [];
  let port = FIRST_PORT;
  const ways: readonly Way[] = [
    way(METHOD_NAT, ALL),
    way(METHOD_DR, ALL),
    way(METHOD_FULLNAT, [PROTOCOL_TCP, PROTOCOL_UDP]),
  ];
  for (const family of [4, 6] as const) {
    for (const one of ways) {
      for (const protocol of one.protocols) {
        const target: Target = { family, protocol, port };
        const service = addService(tables, target, one, USUAL);
        tables.services.setPersistence(service, TICKS, family === 4 ? NETMASK4 : NETMASK6);
        persistent.push(tables.services.firstServer(service));
        frames.push(...framesTo(target, port));
        port++;
      }
      const target: Target = { family, protocol: PROTOCOL_UDP, port };
      tables.services.setOnePacket(addService(tables, target, one, USUAL), true);
      frames.push(...framesTo(target, port));
      port++;
    }
    frames.push(...addWideServices(tables, family, port), ...addFarServers(tables, family));
  }
  addMarkRules(tables);
  addEndpoints(tables);
  return { frames, persistent };
}

/** FTP, any port, marks. */
function addWideServices(tables: Tables, family: 4 | 6, spare: number): Repeated[] {
  const { services } = tables;
  const nat = way(METHOD_NAT, ALL);
  const netmask = family === 4 ? NETMASK4 : NETMASK6;
  const frames: Repeated[] = [];
  for (const protocol of ALL) {
    const any = addService(tables, { family, protocol, port: 0 }, nat);
    services.setPersistence(any, TICKS, netmask);
    frames.push(...framesTo({ family, protocol, port: spare + 100 }, spare));
  }
  const ftp: Target = { family, protocol: PROTOCOL_TCP, port: FTP_PORT };
  services.setPersistence(addService(tables, ftp, nat), TICKS, netmask);
  for (const port of [FTP_PORT, FTP_DATA_PORT, spare + 200]) {
    frames.push(...framesTo({ ...ftp, port }, spare));
  }
  const marked = addMarked(tables, family, MARK);
  services.setPersistence(marked, TICKS, netmask);
  addServer(tables, marked, family, tunnel(0, 0));
  addMarked(tables, family, BYPASS_MARK);
  for (const protocol of ALL) {
    for (const port of [MARKED_PORT, BYPASSED_PORT]) {
      const own = framesTo({ family, protocol, port }, port);
      frames.push(...own, ...towards(own, family, BEYOND, BEYOND6));
    }
  }
  return frames;
}

/** Real servers that are the host itself, beyond a gateway, not to be reached, or not there. */
const PLACES: readonly Place[] = [
  { four: VIRTUAL_ADDRESS, six: VIRTUAL_ADDRESS6 },
  { four: 0x0a020001, six: [0xfd020000 | 0, 0, 0, 1] },
  { four: 0x0a040007, six: [0xfd040000 | 0, 0, 0, 7] },
  { four: 0x0a050001, six: [0xfd050000 | 0, 0, 0, 1] },
  { four: 0x0b000001, six: [0xfe000000 | 0, 0, 0, 1] },
  { four: 0x0a020101, six: [0xfd020000 | 0, 0, 0, 0x101] },
  { four: 0x0a020102, six: [0xfd020000 | 0, 0, 0, 0x102] },
  { four: 0x0a02f004, six: [0xfd020000 | 0, 1, 0, 4] },
];
const FAR_PORT = 5300;

function addFarServers(tables: Tables, family: 4 | 6): Repeated[] {
  const frames: Repeated[] = [];
  let port = FAR_PORT;
  const ways = [METHOD_NAT, METHOD_DR, METHOD_FULLNAT].map((method) => way(method, ALL));
  for (const place of PLACES) {
    for (const one of [...ways, tunnel(0, 0)]) {
      for (const protocol of [PROTOCOL_TCP, PROTOCOL_UDP]) {
        const target: Target = { family, protocol, port };
        addService(tables, target, one, place);
        frames.push(...framesTo(target, port));
        port++;
      }
    }
  }
  return frames;
}

function addMarked(tables: Tables, family: 4 | 6, fwmark: number): number {
  const address = new Int32Array(4);
  return tables.services.create({ family, protocol: 0, address, port: 0, fwmark }, 0);
}

const ANYWHERE = { is: { address: [0, 0, 0, 0], mask: [0, 0, 0, 0] }, inverted: false };

function addMarkRules(tables: Tables): void {
  const rules: Int32Array[] = [];
  for (const family of [4, 6] as const) {
    const vip = family === 4 ? [VIRTUAL_ADDRESS, 0, 0, 0] : [...VIRTUAL_ADDRESS6];
    const mask = family === 4 ? [-1, 0, 0, 0] : [-1, -1, -1, -1];
    const base = {
      family,
      protocol: { is: 0, inverted: false },
      interfaces: ANY_INTERFACE,
      source: ANYWHERE,
      destination: ANYWHERE,
      sourcePorts: { is: ANY_PORT, inverted: false },
      destinationPorts: { is: ANY_PORT, inverted: false },
      portList: { is: [] as number[], inverted: false },
      portListSide: SIDE_EITHER,
      match: { is: { value: 0, mask: 0 }, inverted: false },
      value: 0,
      mask: -1,
    };
    const one = (port: number): number => (port << 16) | port;
    const marked = { is: one(MARKED_PORT), inverted: false };
    rules.push(
      encodeMarkRule({ ...base, destinationPorts: marked, value: MARK }),
      encodeMarkRule({
        ...base,
        protocol: { is: PROTOCOL_SCTP, inverted: true },
        destination: { is: { address: vip, mask }, inverted: true },
        portList: { is: [one(9), one(BYPASSED_PORT)], inverted: false },
        value: BYPASS_MARK,
      }),
      encodeMarkRule({
        ...base,
        protocol: { is: PROTOCOL_SCTP, inverted: false },
        destination: { is: { address: vip, mask }, inverted: false },
        match: { is: { value: MARK, mask: -1 }, inverted: false },
        value: BYPASS_MARK,
        mask: 0xff,
      }),
    );
  }
  tables.marks.publish(rules);
}

/** Where real servers answer by themselves: asked for with nat_icmp_send. */
function addEndpoints(tables: Tables): void {
  tables.endpoints.replace([
    { protocol: PROTOCOL_UDP, address: 0x0a010002, port: 7000 },
    { protocol: PROTOCOL_TCP, address: 0x0a010002, port: 7000 },
    { protocol: PROTOCOL_UDP, address: [0xfd010000 | 0, 0, 0, 2], port: 7000 },
    { protocol: PROTOCOL_TCP, address: [0xfd010000 | 0, 0, 0, 2], port: 7000 },
  ]);
}
