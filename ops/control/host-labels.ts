import { Type } from 'typebox';
import type { Static } from 'typebox';

/** Bounds of labels. */
export const labelLimits = {
  /** Of one host. */
  each: 32,
  /** Hosts that are labelled in one go: each is a row beside one record of the audit. */
  hosts: 4_000,
} as const;

const LABEL_KEY = '[a-z0-9][a-z0-9._/-]{0,62}';
const LABEL_VALUE = '[A-Za-z0-9._:/@+-]{1,128}';

export const LabelKey = Type.String({ pattern: `^${LABEL_KEY}$` });
export const LabelValue = Type.String({ pattern: `^${LABEL_VALUE}$` });
/** What operators say of a host. */
export const Labels = Type.Record(LabelKey, LabelValue, {
  maxProperties: labelLimits.each,
  additionalProperties: false,
});

/** What of labels is to become otherwise. */
export const LabelChange = Type.Object({
  set: Type.Optional(Labels),
  remove: Type.Optional(Type.Array(LabelKey, { maxItems: labelLimits.each })),
});

export type Labels = Static<typeof Labels>;
export type LabelChange = Static<typeof LabelChange>;
