import type { Case } from './rest.testing.ts'

/** Resources spread in resources spread. */
export const SPREAD: readonly Case[] = [
  {
    request: 'GET /plants?select=name,...lines(line:name,...prices(price))&order=id&lines.order=id',
    status: 200,
    json: [
      { name: 'North', line: ['L1', 'L2'], price: [10, 20] },
      { name: 'South', line: ['L3'], price: [null] },
      { name: 'Empty', line: [], price: [] },
    ],
  },
  {
    request: 'GET /plants?select=name,...lines(n:name,...people_of(people:who))&id=lt.3&order=id&lines.order=id',
    status: 200,
    json: [
      { name: 'North', n: ['L1', 'L2'], people: [['Ann'], ['Bob', 'Cy']] },
      { name: 'South', n: ['L3'], people: [[]] },
    ],
  },
  {
    request: 'GET /plants?select=title:name,...lines(*,...prices(*))&id=eq.1&lines.order=prices(price).desc',
    status: 200,
    json: [{ title: 'North', id: [2, 1], name: ['L2', 'L1'], plant: [1, 1], line: [2, 1], price: [20, 10] }],
  },
  { request: 'GET /plants?select=id,...lines(line:name)&lines=is.null', status: 200, json: [{ id: 3, line: [] }] },
  {
    request: 'GET /plants?select=id,...lines(line:name)&lines=not.is.null&order=id.desc',
    status: 200,
    json: [
      { id: 2, line: ['L3'] },
      { id: 1, line: ['L1', 'L2'] },
    ],
  },
]

/** The same with aggregates: what is grouped by has to have an equality. */
export const SPREAD_SUMS: readonly Case[] = [
  {
    request: 'GET /people_of?select=...lines(plants(name),...prices(price.sum()))',
    status: 200,
    json: [{ plants: { name: 'North' }, sum: 50 }],
  },
  {
    request: 'GET /people_of?select=who.count(),...lines(name,...plants(plant:name))&order=lines(name)',
    status: 200,
    json: [
      { count: 1, name: 'L1', plant: 'North' },
      { count: 2, name: 'L2', plant: 'North' },
    ],
  },
  {
    request: 'GET /prices?select=price.max(),...lines(name,...people_of(who))&order=lines(name)',
    status: 200,
    json: [
      { max: 10, name: 'L1', who: ['Ann'] },
      { max: 20, name: 'L2', who: ['Bob', 'Cy'] },
    ],
  },
]
