/**
 * A copy of a TypeBox schema in which no object takes keys that it does not name, however deep. Objects that say
 * themselves what else they take (`Type.Record`, `additionalProperties`) keep their word; intersections are judged
 * as a whole.
 */
export function strictSchema(schema: object): object {
  return closed(schema, false);
}

function closed(schema: object, inIntersection: boolean): object {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) {
    // Data, not schemas.
    if (key === 'const' || key === 'enum' || key === 'default' || key === 'examples') {
      copy[key] = value;
    } else {
      copy[key] = key === 'properties' ? closedEach(value) : closedPart(value, key === 'allOf');
    }
  }
  if ('allOf' in copy) copy['unevaluatedProperties'] ??= false;
  else if ('properties' in copy && !inIntersection) copy['additionalProperties'] ??= false;
  return copy;
}

/** The schemas of named properties: the names are data. */
function closedEach(properties: unknown): unknown {
  if (!isObject(properties)) return properties;
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [name, closedPart(value, false)]),
  );
}

function closedPart(value: unknown, inIntersection: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => closedPart(item, inIntersection));
  return isObject(value) ? closed(value, inIntersection) : value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof RegExp);
}
