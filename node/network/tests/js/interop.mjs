// Talks to Purlin nodes with js-libp2p: connect, identify, ping, and find a peer through the DHT.
//
// Starts two nodes (the example `listen`); the second knows the first. js-libp2p connects to the second alone and must
// find the first through the DHT. Ends with an error code and a sentence when any step fails.

import './node20.mjs'
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@libp2p/noise'
import { yamux } from '@libp2p/yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'

const TIMEOUT_MS = 30_000
const GENESIS = '07'.repeat(32)
const PREFIX = GENESIS.slice(0, 16)
const KAD = `/purlin/${PREFIX}/kad/1`
const SYNC = `/purlin/${PREFIX}/sync/1`
const VERSION = `purlin/${GENESIS}`

const program = process.argv[2]
if (program === undefined) {
  console.error('usage: npm run interop -- <path of the example program listen>')
  process.exit(2)
}

/** Starts a node; resolves to its process and its address. */
async function start (bootstrap = []) {
  const child = spawn(program, [GENESIS, '/ip4/127.0.0.1/tcp/0', ...bootstrap], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const lines = createInterface({ input: child.stdout })
  const address = await new Promise((resolve, reject) => {
    lines.once('line', resolve)
    child.once('exit', (code) => reject(new Error(`the node ended with code ${code} before it listened`)))
    child.once('error', reject)
  })
  return { child, address, id: address.split('/').at(-1) }
}

function check (condition, sentence) {
  if (!condition) throw new Error(sentence)
  console.log(`ok   ${sentence}`)
}

/** Repeats `look` until it returns something, or the time is over. */
async function until (what, look) {
  const end = Date.now() + TIMEOUT_MS
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const nodes = []
let js
let code = 0
try {
  const first = await start()
  nodes.push(first)
  const second = await start([first.address])
  nodes.push(second)

  js = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // rust-libp2p answers one ping stream at a time: the monitor's ping would cut off the DHT's and ours, and a failed
    // ping makes the monitor close the connection.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({ protocol: KAD, clientMode: true, peerInfoMapper: passthroughMapper, allowQueryWithZeroPeers: false })
    }
  })

  const identified = new Promise((resolve) => {
    js.addEventListener('peer:identify', (event) => {
      if (event.detail.peerId.toString() === second.id) resolve(event.detail)
    })
  })
  const connection = await js.dial(multiaddr(second.address), { signal: AbortSignal.timeout(TIMEOUT_MS) })
  check(connection.remotePeer.toString() === second.id, 'connects over TCP, Noise and Yamux')

  const about = await Promise.race([
    identified,
    new Promise((_, reject) => setTimeout(reject, TIMEOUT_MS, new Error('not in time: identify')).unref())
  ])
  check(about.protocolVersion === VERSION, `identify says which chain it is: ${about.protocolVersion}`)
  check(about.agentVersion.startsWith('purlin/'), `identify says what it runs: ${about.agentVersion}`)
  for (const protocol of [KAD, SYNC, '/ipfs/ping/1.0.0', '/ipfs/id/1.0.0']) {
    check(about.protocols.includes(protocol), `identify lists ${protocol}`)
  }

  // js-libp2p's DHT pings the node as well, when it puts it into its table.
  const time = await until('a ping', async () => {
    try {
      return 1 + await js.services.ping.ping(connection.remotePeer, { signal: AbortSignal.timeout(5_000) })
    } catch (error) {
      console.log(`     again: ${error.message}`)
      return undefined
    }
  })
  check(Number.isFinite(time), `pings within ${time} ms`)

  // The second node puts the first into its routing table once it is identified, so early questions may miss it.
  const wanted = peerIdFromString(first.id)
  const found = await until('the first node is found through the DHT', async () => {
    try {
      return await js.peerRouting.findPeer(wanted, { signal: AbortSignal.timeout(5_000), useCache: false })
    } catch (error) {
      console.log(`     not yet: ${error.message}`)
      return undefined
    }
  })
  check(found.id.equals(wanted), `finds the other node through the DHT: ${found.multiaddrs.join(', ')}`)

  const closest = []
  for await (const peer of js.peerRouting.getClosestPeers(wanted.toMultihash().bytes, {
    signal: AbortSignal.timeout(TIMEOUT_MS)
  })) {
    closest.push(peer.id.toString())
  }
  check(closest.includes(first.id), `lists the closest peers: ${closest.length}`)

  await js.dial(wanted, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  check(js.getConnections(wanted).length > 0, 'connects to what it found')
} catch (error) {
  console.error(`FAIL ${error.stack ?? error}`)
  code = 1
} finally {
  await js?.stop()
  for (const { child } of nodes) child.kill('SIGINT')
}
process.exitCode = code
