/** Which branch of a union a value claims to be. */
export type Claim =
  | { readonly kind: 'branch'; readonly schema: object }
  | { readonly kind: 'unknown'; readonly field: string; readonly text: string };

/** Tells the branches of a schema apart, for messages about what is wrong with a value. */
export interface Branches {
  claimedBy(value: unknown): Claim;
}

/**
 * The branches of a union of objects that each carry a literal of their own in one field (`type`, say); any other
 * schema is its own and only branch.
 */
export function branchesOf(schema: object): Branches {
  const options = arrayOf(schema, 'anyOf').filter((option) => isObject(option));
  const field = tellingField(options);
  if (field === undefined) return { claimedBy: () => ({ kind: 'branch', schema }) };
  const byName = new Map(options.map((option) => [literalOf(option, field), option]));
  const names = [...byName.keys()].map((name) => JSON.stringify(name)).join(', ');
  return {
    claimedBy(value) {
      if (!isObject(value)) return { kind: 'branch', schema: options[0] ?? schema };
      const branch = byName.get(Object.hasOwn(value, field) ? read(value, field) : undefined);
      if (branch !== undefined) return { kind: 'branch', schema: branch };
      return { kind: 'unknown', field, text: `expected one of ${names}` };
    },
  };
}

/** The first field that holds a different literal in every option. */
function tellingField(options: readonly object[]): string | undefined {
  const [first] = options;
  const fields = first === undefined ? [] : Object.keys(read(first, 'properties') ?? {});
  return fields.find((field) => {
    const literals = options.map((option) => literalOf(option, field));
    return !literals.includes(undefined) && new Set(literals).size === options.length;
  });
}

function literalOf(schema: object, field: string): unknown {
  const properties = read(schema, 'properties');
  const property = isObject(properties) ? read(properties, field) : undefined;
  return isObject(property) ? read(property, 'const') : undefined;
}

function arrayOf(value: object, key: string): readonly unknown[] {
  const array = read(value, key);
  return Array.isArray(array) ? array : [];
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function read(value: object, key: string): unknown {
  return Reflect.get(value, key);
}
