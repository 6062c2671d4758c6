/** Longest pattern of RE2, characters: beside `linearPattern()`, for who only says what a pattern may be. */
export const MAX_PATTERN_LENGTH = 1_000;
