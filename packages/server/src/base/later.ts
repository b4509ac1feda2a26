import { createRequire } from 'node:module'

/** Loads a package at its first use: what few requests need, a start does not pay for. */
export const later = createRequire(import.meta.url) as <T>(name: string) => T

/** An import of it would read all its exports, one of which loads Node's own undici. */
export const nodeHttp = () => later<typeof import('node:http')>('node:http')
export const nodeHttps = () => later<typeof import('node:https')>('node:https')

/** A start on SQLite wakes nobody, and needs none of it. */
export const nodePg = () => later<typeof import('pg')>('pg')
