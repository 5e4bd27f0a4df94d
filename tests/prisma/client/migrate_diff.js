// Prints what `prisma migrate diff --script` prints, by Prisma's own schema engine.
//
// node migrate_diff.js FILE FROM TO      FROM and TO: empty, schema (FILE) or database (DATABASE_URL)
//
// The command itself runs a program that is not on the package registry. The same engine is there as WebAssembly, which
// reads the database through Prisma's driver adapter.

import { readFile } from "node:fs/promises";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from "@prisma/driver-adapter-utils";
import * as bindings from "./node_modules/@prisma/schema-engine-wasm/schema_engine_bg.js";

// PostgreSQL's type "char", in which the catalog says what kind a constraint is, and its array.
const CHAR = 18;
const CHAR_ARRAY = 1002;

// The adapter reads the tables of a platform; of the types that only the catalog has, it lacks "char".
class CatalogAdapter extends PrismaPg {
  async connect() {
    const adapter = await super.connect();
    const performIO = adapter.performIO.bind(adapter);
    adapter.performIO = async (query) => {
      const result = await performIO(query);
      for (const field of result.fields) {
        field.dataTypeID = field.dataTypeID === CHAR ? CHAR_ARRAY : field.dataTypeID;
      }
      return result;
    };
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (query) => {
      const result = await queryRaw(query);
      const columnTypes = result.columnTypes.map((type) =>
        type === ColumnTypeEnum.CharacterArray ? ColumnTypeEnum.Character : type,
      );
      return { ...result, columnTypes };
    };
    return adapter;
  }
}

globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: (message) => console.error(message) };
const program = await readFile(new URL("./node_modules/@prisma/schema-engine-wasm/schema_engine_bg.wasm", import.meta.url));
const { instance } = await WebAssembly.instantiate(program, { "./schema_engine_bg.js": bindings });
bindings.__wbg_set_wasm(instance.exports);
instance.exports.__wbindgen_start();

const [file, from, to] = process.argv.slice(2);
const content = await readFile(file, "utf8");
const files = [{ path: file, content }];
const targets = {
  empty: { tag: "empty" },
  schema: { tag: "schemaDatamodel", files },
  database: { tag: "schemaDatasource", files, configDir: "." },
};
const factory = bindMigrationAwareSqlAdapterFactory(new CatalogAdapter({ connectionString: process.env.DATABASE_URL }));
const engine = await bindings.SchemaEngine.new({ datamodels: [[file, content]] }, () => {}, factory);
const { stdout } = await engine.diff({
  from: targets[from],
  to: targets[to],
  script: true,
  exitCode: null,
  shadowDatabaseUrl: null,
  filters: { externalTables: [], externalEnums: [] },
});
process.stdout.write(stdout, () => process.exit(0));
