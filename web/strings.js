// All words of the page, in each of its languages. `{name}` is filled in. Nodes of index.html say which words they show:
// `data-t` for their text, `data-t-label` for what a screen reader and a tooltip say, `data-t-placeholder`.

const EN = {
  conversation: 'Conversation',
  new_chat: 'New chat',
  settings: 'Settings',
  you: 'You',
  answer: 'Answer',
  message: 'Message',
  placeholder: 'Write a message',
  keys: 'Enter sends, Shift+Enter begins a new line, Escape stops an answer.',
  send: 'Send',
  stop: 'Stop',
  cancel: 'Cancel',
  done: 'Done',
  latest: 'To the latest',
  copy: 'Copy',
  copied: 'Copied',
  not_copied: 'Not copied',
  copy_code: 'Copy this code',
  copy_answer: 'Copy the answer',
  edit: 'Edit',
  again: 'Answer again',
  retry: 'Try again',
  editing: 'Your last message, to be sent anew',
  welcome: 'What is on your mind?',
  welcome_note: '{model} answers. The conversation stays in this browser.',
  welcome_note_bare: 'The conversation stays in this browser.',
  idea_1: 'Tell me a story about a small fish',
  idea_2: 'Why is the sea salty?',
  idea_3: 'Write a haiku about shallow water',
  back: 'Back to the last conversation',
  waiting: 'Waiting for the model',
  reading: 'Reading the prompt, {read} of {total}',
  thinking_now: 'Thinking, {time}',
  thought: 'Thought for {time}',
  seconds: '{s} s',
  minutes: '{m} min {s} s',
  tokens: '{n} tokens',
  token: '1 token',
  rate: '{n} tokens/s',
  cached: '{n} of {prompt} prompt tokens cached',
  cut: 'ended by the limit of tokens',
  stopped: 'stopped',
  is_complete: 'The answer is complete.',
  is_stopped: 'The answer was stopped.',
  not_kept: 'This conversation will not outlive the page: the browser has no room for it or does not allow it.',
  error_key: 'The server asks for an API key.',
  error_busy: 'The server is busy; try again in a moment.',
  error_long: 'The conversation is longer than the model can hold; begin a new chat.',
  error_unreachable: 'The server cannot be reached.',
  error_broke: 'The connection broke before the answer was complete.',
  key_title: 'API key',
  key_note: 'This server answers only with its key, which whoever started it has. It is kept here until this tab is closed.',
  key: 'Key',
  key_use: 'Use it',
  thinking: 'Thinking',
  thinking_auto: 'Thinking: auto',
  thinking_on: 'Thinking: on',
  thinking_off: 'Thinking: off',
  system: 'System prompt',
  system_note: 'What the model is told before every conversation.',
  temperature: 'Temperature',
  temperature_note: '0 always says the likeliest, 2 is wild. Empty: as the model likes it.',
  max_tokens: 'Most tokens of an answer',
  max_tokens_note: 'Empty: as many as fit.',
  by_model: 'auto',
  theme: 'Appearance',
  theme_system: 'As the system',
  theme_light: 'Light',
  theme_dark: 'Dark',
  language: 'Language',
  language_auto: 'As the browser',
};

const ZH = {
  conversation: '对话',
  new_chat: '新对话',
  settings: '设置',
  you: '你',
  answer: '回答',
  message: '消息',
  placeholder: '输入消息',
  keys: '按 Enter 发送，Shift+Enter 换行，Esc 停止回答。',
  send: '发送',
  stop: '停止',
  cancel: '取消',
  done: '完成',
  latest: '回到最新',
  copy: '复制',
  copied: '已复制',
  not_copied: '未能复制',
  copy_code: '复制这段代码',
  copy_answer: '复制回答',
  edit: '编辑',
  again: '重新回答',
  retry: '重试',
  editing: '修改上一条消息后重新发送',
  welcome: '想聊点什么？',
  welcome_note: '由 {model} 作答，对话只保存在这个浏览器里。',
  welcome_note_bare: '对话只保存在这个浏览器里。',
  idea_1: '讲一个关于小鱼的故事',
  idea_2: '海水为什么是咸的？',
  idea_3: '写一首关于浅水的俳句',
  back: '回到上一段对话',
  waiting: '正在等待模型',
  reading: '正在读取提示，{read} / {total}',
  thinking_now: '正在思考，{time}',
  thought: '思考了 {time}',
  seconds: '{s} 秒',
  minutes: '{m} 分 {s} 秒',
  tokens: '{n} 个 token',
  token: '1 个 token',
  rate: '每秒 {n} 个',
  cached: '提示 {prompt} 个中 {n} 个已缓存',
  cut: '已达 token 上限',
  stopped: '已停止',
  is_complete: '回答完毕。',
  is_stopped: '回答已停止。',
  not_kept: '关闭页面后这段对话不会保留：浏览器空间不足或不允许保存。',
  error_key: '服务器需要 API 密钥。',
  error_busy: '服务器正忙，请稍后重试。',
  error_long: '对话超出了模型的上下文长度，请开始新对话。',
  error_unreachable: '无法连接服务器。',
  error_broke: '回答尚未完成，连接就中断了。',
  key_title: 'API 密钥',
  key_note: '此服务器只在收到密钥后作答，密钥请向启动服务器的人索取。它会保留到此标签页关闭为止。',
  key: '密钥',
  key_use: '使用',
  thinking: '思考',
  thinking_auto: '思考：自动',
  thinking_on: '思考：开',
  thinking_off: '思考：关',
  system: '系统提示',
  system_note: '每次对话开始前告诉模型的话。',
  temperature: '温度',
  temperature_note: '0 总选最可能的词，2 最为随意。留空则由模型决定。',
  max_tokens: '回答的最大 token 数',
  max_tokens_note: '留空则不另设上限。',
  by_model: '自动',
  theme: '外观',
  theme_system: '跟随系统',
  theme_light: '浅色',
  theme_dark: '深色',
  language: '语言',
  language_auto: '跟随浏览器',
};

const TABLES = { en: EN, zh: ZH };

let language = 'en';
let numbers = new Intl.NumberFormat('en');

/** Speaks `choice`, or with 'auto' the first of the browser's languages that is here. */
export function speak(choice) {
  const wanted = choice === 'auto' ? (navigator.languages ?? [navigator.language]) : [choice];
  const short = wanted.map((tag) => tag.slice(0, 2).toLowerCase());
  language = short.find((tag) => tag in TABLES) ?? 'en';
  numbers = new Intl.NumberFormat(language);
  document.documentElement.lang = language === 'zh' ? 'zh-Hans' : language;
  fill(document);
}

/** The words `name`, with `values` filled in. */
export function t(name, values = {}) {
  return TABLES[language][name].replace(/\{(\w+)\}/g, (_, value) =>
    (typeof values[value] === 'number' ? numbers.format(values[value]) : values[value]));
}

/** A time in words. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return t('seconds', { s: seconds });
  return t('minutes', { m: Math.floor(seconds / 60), s: seconds % 60 });
}

function fill(root) {
  for (const node of root.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of root.querySelectorAll('[data-t-label]')) label(node, node.dataset.tLabel);
}

/** Gives `node` the words `name` for screen readers, and as a tooltip. */
export function label(node, name) {
  node.setAttribute('aria-label', t(name));
  node.title = t(name);
}
