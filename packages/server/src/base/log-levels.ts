export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** How much of an address is written down. */
export const ADDRESS_MODES = ['whole', 'truncated', 'absent'] as const
export type AddressMode = (typeof ADDRESS_MODES)[number]
