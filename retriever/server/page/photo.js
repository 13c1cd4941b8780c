// A photo that is dropped, pasted or chosen; made small here, so that asking again is quick.

import { find, show } from "./dom.js";

const SIDE = 640; // pixels of the shorter side: more than the encoder looks at
const LARGEST = 25_000_000; // bytes, as the server takes them

async function small(file) {
  try {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.min(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    return await new Promise((done) => canvas.toBlob((blob) => done(blob ?? file), "image/jpeg", 0.92));
  } catch {
    return file; // the server says what is wrong with it
  }
}

export function photoField(changed, refused) {
  const box = find("photo");
  const shown = find("photo-shown");

  async function take(file) {
    if (!file) return;
    if (file.size > LARGEST) return refused("That photo has over 25 MB: save it smaller.");
    URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(file);
    draw(true);
    changed(await small(file));
  }

  function draw(there) {
    show(shown, there);
    show(find("photo-hint"), !there);
    show(find("photo-remove"), there);
  }

  find("photo-choose").addEventListener("click", () => find("photo-file").click());
  find("photo-file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  find("photo-remove").addEventListener("click", () => {
    URL.revokeObjectURL(shown.src);
    shown.removeAttribute("src");
    draw(false);
    find("photo-choose").focus();
    changed(null);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) box.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      take(file);
    }
  });
}
