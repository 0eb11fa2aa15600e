// Sounds as answers bring them: decoded, played, and given back.

const TYPES = {
  mp3: "audio/mpeg",
  opus: "audio/ogg",
  aac: "audio/aac",
  flac: "audio/flac",
  wav: "audio/wav",
  pcm: "application/octet-stream",
};

export function decoded(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

// A file of the bytes that came, in one piece or several.
export function soundFile(parts, format) {
  return new Blob(parts, { type: TYPES[format] });
}

// Remove a result from the page, and its sounds from memory.
export function discard(element) {
  for (const sound of element.querySelectorAll("audio")) URL.revokeObjectURL(sound.src);
  element.remove();
}
