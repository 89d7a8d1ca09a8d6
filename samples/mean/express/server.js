// The todo API: /api/todos on top of MongoDB, and /health for the health check.
import express from 'express';
import mongoose from 'mongoose';

const port = 3000;
const mongoUrl = process.env.MONGO_URL ?? 'mongodb://mongo:27017/todo';

const Todo = mongoose.model(
  'Todo',
  new mongoose.Schema(
    {
      title: { type: String, required: true, trim: true, maxlength: 200 },
      done: { type: Boolean, default: false },
    },
    { timestamps: true, versionKey: false },
  ),
);

const connected = () => mongoose.connection.readyState === 1;

const app = express();
app.use(express.json());

app.get('/health', (req, res) => {
  res.status(connected() ? 200 : 503).json({ database: connected() ? 'connected' : 'not connected' });
});

app.get('/api/todos', async (req, res) => {
  res.json(await Todo.find().sort('createdAt'));
});

app.post('/api/todos', async (req, res) => {
  const todo = await Todo.create({ title: req.body?.title });
  console.log(`added "${todo.title}"`);
  res.status(201).json(todo);
});

app.patch('/api/todos/:id', async (req, res) => {
  const todo = await Todo.findByIdAndUpdate(
    req.params.id,
    { done: req.body?.done === true },
    { returnDocument: 'after' },
  );
  if (!todo) return res.status(404).json({ error: 'no such todo' });
  res.json(todo);
});

app.delete('/api/todos/:id', async (req, res) => {
  await Todo.findByIdAndDelete(req.params.id);
  res.status(204).end();
});

app.use((err, req, res, next) => {
  const badRequest = ['ValidationError', 'CastError', 'SyntaxError'].includes(err.name);
  if (!badRequest) console.error(err);
  res.status(badRequest ? 400 : 500).json({ error: err.message });
});

const server = app.listen(port, () => console.log(`todo API on port ${port}`));

// mongoose reconnects by itself once the first connection has been made.
async function connect() {
  try {
    await mongoose.connect(mongoUrl, { serverSelectionTimeoutMS: 2000 });
    console.log('connected to MongoDB');
  } catch (err) {
    console.error(`MongoDB: ${err.message}`);
    setTimeout(connect, 500);
  }
}
connect();

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, async () => {
    console.log(`${signal}: stopping`);
    server.close();
    await mongoose.disconnect();
    process.exit(0);
  });
}
