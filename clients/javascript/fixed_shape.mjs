// LiteRT.js (2.5) runs no model whose input has a length left open, as
// student.tflite's has. This writes one into the model, in place.
//
//     const model = fixedShape(await response.arrayBuffer(), 1, 128);
//
// A TFLite file is a flatbuffer: a table's first number leads back to its
// vtable, which holds the places of its fields; 0 is a field left out.

const MODEL = { subgraphs: 2 };
const SUBGRAPH = { tensors: 0, inputs: 1, outputs: 2 };
const TENSOR = { shape: 0, shapeSignature: 7 };

// Gives a model's inputs the shape [rows, length] and its outputs as many
// rows. model: an ArrayBuffer. Returns a Uint8Array of the same memory.
export function fixedShape(model, rows, length) {
  const bytes = new Uint8Array(model);
  if (String.fromCharCode(...bytes.subarray(4, 8)) !== "TFL3") {
    throw new Error("this is no TFLite file");
  }
  const view = new DataView(model);
  const follow = (place) => place + view.getUint32(place, true);
  const field = (table, number) => {
    const vtable = table - view.getInt32(table, true);
    const entry = 4 + 2 * number;
    const known = entry < view.getUint16(vtable, true);
    const offset = known ? view.getUint16(vtable + entry, true) : 0;
    return offset ? follow(table + offset) : null;
  };
  // Places of a vector's items, which are four bytes each.
  const items = (vector) => vector === null ? [] : Array.from(
    { length: view.getUint32(vector, true) }, (_, i) => vector + 4 + 4 * i);

  const graph = follow(items(field(follow(0), MODEL.subgraphs))[0]);
  const tensors = items(field(graph, SUBGRAPH.tensors)).map(follow);
  for (const [side, sizes] of [
    [SUBGRAPH.inputs, [rows, length]], [SUBGRAPH.outputs, [rows]],
  ]) {
    for (const place of items(field(graph, side))) {
      const tensor = tensors[view.getInt32(place, true)];
      for (const number of Object.values(TENSOR)) {
        const dimensions = items(field(tensor, number));
        sizes.forEach((size, i) => {
          if (dimensions[i]) view.setInt32(dimensions[i], size, true);
        });
      }
    }
  }
  return bytes;
}
