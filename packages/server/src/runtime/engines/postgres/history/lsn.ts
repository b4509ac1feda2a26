import type { Position } from '../../../history.ts'

const HALF = 32n
const LOW = 0xffffffffn

/** `16/B374D848` → a number, and back. */
export function parseLsn(text: string): Position {
  const [high = '0', low = '0'] = text.split('/')
  return (BigInt(`0x${high}`) << HALF) | BigInt(`0x${low}`)
}

export const printLsn = (position: Position): string => `${(position >> HALF).toString(16)}/${(position & LOW).toString(16)}`.toUpperCase()

/** Name of the segment that holds a position. */
export function segmentName(timeline: number, position: Position, size: number): string {
  const perLog = (1n << HALF) / BigInt(size)
  const number = position / BigInt(size)
  const hex = (value: bigint | number) => value.toString(16).toUpperCase().padStart(8, '0')
  return `${hex(timeline)}${hex(number / perLog)}${hex(number % perLog)}`
}
