/** What a package may be called. It becomes a part of paths: no slash, and never `.` or `..`. */
export const packageNamePattern = '^[a-z0-9][a-z0-9._-]{0,63}$';

/** What a version of it may be called; `none` stands for no version where one is expected. */
export const packageVersionPattern = '^(?!none$)[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$';
