// TensorFlow.js, for kterm: dense layers of tf.layers, gradients by tf.variableGrads, in float32 on the CPU backend.
import os from 'node:os';

// The protocol has standard output for itself. TensorFlow.js writes there with console.log and console.info.
console.log = console.info = console.error;
const tf = await import('@tensorflow/tfjs');

const layer = (activation) => {
  const applied = tf.layers.activation({activation});
  return (z) => applied.apply(z);
};

// Each takes z and, if it has one, the parameter by which the suite calls it.
const ACTIVATIONS = {
  identity: layer('linear'),
  sigmoid: (z) => tf.sigmoid(z),
  tanh: (z) => tf.tanh(z),
  relu: (z) => tf.relu(z),
  leaky_relu: (z, {slope}) => tf.leakyRelu(z, slope),
  relu6: (z) => tf.relu6(z),
  hardtanh: (z) => tf.clipByValue(z, -1, 1),
  elu: (z) => tf.elu(z),
  selu: (z) => tf.selu(z),
  softplus: (z) => tf.softplus(z),
  softsign: layer('softsign'),
  silu: layer('swish'),
  gelu: layer('gelu'),
  gelu_tanh: layer('gelu_new'),
  mish: layer('mish'),
  log_sigmoid: (z) => tf.logSigmoid(z),
  sin: (z) => tf.sin(z),
};

// The slopes that its gradients take where a derivative jumps: README.md says where they are written.
const KINKS = [
  ['relu', 0, 0],
  ['leaky_relu', 0, 0.125],
  ['relu6', 0, 0],
  ['relu6', 6, 1],
  ['hardtanh', -1, 1],
  ['hardtanh', 1, 1],
  ['selu', 0, 1.7580993408473766],
];

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
const UNSUPPORTED = -32001, RAISED = -32002, NO_METHOD = -32601, BAD_PARAMETERS = -32602;

function readTensor({dtype, shape, data}) {
  if (dtype !== 'f32') throw new Failure(BAD_PARAMETERS, `a tensor of dtype ${dtype}; this host takes f32`);
  const bytes = Buffer.from(data, 'base64');
  if (bytes.length !== 4 * shape.reduce((a, b) => a * b, 1)) {
    throw new Failure(BAD_PARAMETERS, `a tensor of shape [${shape}] with ${bytes.length} bytes`);
  }
  // A copy: typed arrays begin at multiples of four bytes.
  return tf.tensor(new Float32Array(Uint8Array.from(bytes).buffer), shape, 'float32');
}

function writeTensor(tensor) {
  if (tensor.dtype !== 'float32') throw new Failure(RAISED, `TensorFlow.js returned a ${tensor.dtype}`);
  const values = tensor.dataSync();
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
  return {dtype: 'f32', shape: tensor.shape, data};
}

const programs = new Map();
let built = 0;

function build({structure}) {
  const {widths, activations, bias, dtype, batch} = structure;
  if (dtype !== 'f32') throw new Failure(UNSUPPORTED, `TensorFlow.js has no ${dtype}`);
  const functions = activations.map(({name, parameters}) => {
    if (!Object.hasOwn(ACTIVATIONS, name)) throw new Failure(UNSUPPORTED, `TensorFlow.js has no ${name}`);
    if (name === 'elu' && parameters.alpha !== 1) throw new Failure(UNSUPPORTED, 'tf.elu has alpha = 1 only');
    return (z) => ACTIVATIONS[name](z, parameters);
  });
  const layers = functions.map((_, i) => {
    const dense = tf.layers.dense({units: widths[i + 1], useBias: bias === 'pre', kernelInitializer: 'zeros'});
    dense.build([null, widths[i]]);
    return dense;
  });
  // Zeros added to each z: the gradient with respect to them is k. With the placement "post" the biases are ours.
  const shifts = layers.map((_, i) => tf.variable(tf.zeros([batch, widths[i + 1]])));
  const biases = bias === 'post' ? layers.map((_, i) => tf.variable(tf.zeros([widths[i + 1]]))) : [];
  programs.set(++built, {functions, layers, shifts, biases, bias});
  return {program: built};
}

function findProgram(number) {
  const program = programs.get(number);
  if (!program) throw new Failure(BAD_PARAMETERS, `there is no program ${number}`);
  return program;
}

const backprop = (request) => tf.tidy(() => {
  const {functions, layers, shifts, biases, bias} = findProgram(request.program);
  const given = {weights: request.weights.map(readTensor), biases: request.biases.map(readTensor)};
  layers.forEach((dense, i) => dense.setWeights([given.weights[i], ...(bias === 'pre' ? [given.biases[i]] : [])]));
  biases.forEach((own, i) => own.assign(given.biases[i]));
  const x = readTensor(request.x), y = readTensor(request.y);
  const zs = [], xs = [];
  const squaredError = () => {
    layers.forEach((dense, i) => {
      zs[i] = tf.keep(tf.add(dense.apply(i ? xs[i - 1] : x), shifts[i]));
      const activated = functions[i](zs[i]);
      xs[i] = tf.keep(biases.length ? tf.add(activated, biases[i]) : activated);
    });
    return tf.div(tf.sum(tf.squaredDifference(xs[xs.length - 1], y)), 2);
  };
  const weights = layers.map((dense) => dense.getWeights()[0]);
  const used = bias === 'pre' ? layers.map((dense) => dense.getWeights()[1]) : biases;
  const {value, grads} = tf.variableGrads(squaredError, [...weights, ...used, ...shifts]);
  const gradients = (variables) => variables.map((variable) => writeTensor(grads[variable.name]));
  const answer = {
    outputs: writeTensor(xs[xs.length - 1]),
    error: writeTensor(value),
    weight_gradients: gradients(weights),
    bias_gradients: gradients(used),
    z: zs.map(writeTensor),
    x: xs.map(writeTensor),
    k: gradients(shifts),
  };
  tf.dispose([zs, xs]);
  return answer;
});

function release({program}) {
  const {layers, shifts, biases} = findProgram(program);
  // Layer.dispose refuses: it counts only calls with symbolic tensors as uses.
  tf.dispose([layers.map((dense) => dense.getWeights()), shifts, biases]);
  programs.delete(program);
  return {};
}

async function initialize({protocol, device}) {
  if (protocol !== 1) throw new Failure(BAD_PARAMETERS, 'this host speaks version 1 of the protocol');
  if (device && device !== 'cpu') throw new Failure(BAD_PARAMETERS, 'device: this host runs on cpu');
  if (os.endianness() !== 'LE') throw new Failure(UNSUPPORTED, 'this host needs a little-endian machine');
  await tf.setBackend('cpu');
  return {
    protocol: 1,
    name: 'tfjs',
    version: tf.version['tfjs'],
    layout: 'in_out',
    dtypes: ['f32'],
    activations: Object.keys(ACTIVATIONS),
    biases: ['none', 'pre', 'post'],
    device: 'cpu',
    kinks: KINKS,
    fixed_parameters: {elu: {alpha: 1}},
  };
}

let ended = false;
function shutdown() {
  ended = true;
  return {};
}

const METHODS = {initialize, build, backprop, release, shutdown};

async function answer(line) {
  let id = null;
  try {
    const request = JSON.parse(line);
    id = Number.isSafeInteger(request?.id) ? request.id : null;
    if (!Object.hasOwn(METHODS, request?.method)) throw new Failure(NO_METHOD, `no method ${request?.method}`);
    return {jsonrpc: '2.0', id, result: await METHODS[request.method](request.params ?? {})};
  } catch (error) {
    const code = error instanceof Failure ? error.code : error instanceof SyntaxError ? -32700 : RAISED;
    return {jsonrpc: '2.0', id, error: {code, message: String(error?.message ?? error)}};
  }
}

// Lines end with \n alone: node:readline also ends them at U+2028, which may stand in a string.
let parts = [];
reading: for await (const chunk of process.stdin) {
  let start = 0;
  for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
    const line = Buffer.concat([...parts, chunk.subarray(start, end)]).toString();
    [parts, start] = [[], end + 1];
    process.stdout.write(JSON.stringify(await answer(line)) + '\n');
    if (ended) break reading;
  }
  parts.push(chunk.subarray(start));
}
