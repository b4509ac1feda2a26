import type { TestEvent } from 'node:test/reporters'

/** A reporter of `node --test`: the counts of the whole run as JSON. */
export default async function* summary(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    // One such event a file, and a last one of the run, which names no file.
    if (event.type !== 'test:summary' || event.data.file !== undefined) continue
    const { tests, passed, skipped, todo } = event.data.counts
    yield JSON.stringify({ passed, failed: tests - passed - skipped - todo, skipped })
  }
}
