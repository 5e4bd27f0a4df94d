// Makes calls of a generated Prisma client, one after the other, and prints their results as one JSON list.
//
// node calls.js SCHEMA '[["user", "findMany", {}], …]'   (DATABASE_URL says where)

import { PrismaPg } from "@prisma/adapter-pg";

const [schema, calls] = process.argv.slice(2);
const { PrismaClient } = await import(`./node_modules/.generated/${schema}/index.js`);
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });
const results = [];
for (const [model, method, options] of JSON.parse(calls)) {
  results.push(await prisma[model][method](options));
}
await prisma.$disconnect();
console.log(JSON.stringify(results));
