/** Somebody who may ask something, as far as is known of a request. */
export interface Principal {
  readonly name: string;
  /** Id of the key that was shown; absent: the operator. */
  readonly key?: string;
}

/** Who has a key of `--api-key-file` that is good for everything: may everything, without caps. */
export const operator: Principal = { name: 'operator' };

/** The principal that calls are made for, as it is kept. */
export function principalOf({
  principal: name,
  key,
}: {
  readonly principal: string;
  readonly key?: string | undefined;
}): Principal {
  return key === undefined ? { name } : { name, key };
}

/** Names in the audit that no key is made for. */
export const reservedNames: readonly string[] = [operator.name, 'door', 'host'];

/** Who asks, and from where. */
export interface Caller {
  readonly principal: Principal;
  /** The address of the connection, or the part of the program that asks by itself. */
  readonly source: string;
  /** Id of the approval that is quoted for what is asked. */
  readonly approval?: string;
}
