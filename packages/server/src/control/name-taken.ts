import { isUniqueViolation } from '../base/db/errors.ts'
import { fail } from '../base/errors.ts'

/** Two who take a name at once both find it free: the database's unique key tells the second one, as `name_taken`. */
export async function orNameTaken<R>(name: string, write: Promise<R>): Promise<R> {
  try {
    return await write
  } catch (error) {
    throw isUniqueViolation(error) ? fail('name_taken', { name }, { cause: error }) : error
  }
}
