import { Type } from 'typebox'
import { STATEMENT_HOURS } from './plain.ts'

export const StatementLog = Type.Object({
  until: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description: 'When it ends by itself; null: it is off' }),
})

export const StatementLogStart = Type.Object(
  {
    hours: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: STATEMENT_HOURS, default: STATEMENT_HOURS, description: 'After them it ends by itself' }),
    ),
  },
  { additionalProperties: false },
)
