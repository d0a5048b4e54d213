// The prompts that the five families of models were trained with, for files that bring no template.
#include <array>

#include "text/chat_template.h"

namespace kvasir::text {

namespace {

// The user and the assistant take turns, and the system's words stand in the first one's.
constexpr std::string_view kLlama2Chat = R"({%- if messages[0]['role'] == 'system' -%}
  {%- set turns = messages[1:] -%}
  {%- set system = '<<SYS>>\n' + messages[0]['content'].strip() + '\n<</SYS>>\n\n' -%}
{%- else -%}
  {%- set turns = messages -%}
  {%- set system = '' -%}
{%- endif -%}
{%- for turn in turns -%}
  {%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
  {%- endif -%}
  {%- if turn['role'] == 'user' -%}
    {{- bos_token + '[INST] ' + (system if loop.first else '') + turn['content'].strip() + ' [/INST]' -}}
  {%- elif turn['role'] == 'assistant' -%}
    {{- ' ' + turn['content'].strip() + ' ' + eos_token -}}
  {%- endif -%}
{%- endfor -%})";

// Version 1.1 and later. Nothing between </s> and USER, and no space at the end.
constexpr std::string_view kVicuna = R"({%- if messages[0]['role'] == 'system' -%}
  {%- set turns = messages[1:] -%}
  {%- set system = messages[0]['content'] -%}
{%- else -%}
  {%- set turns = messages -%}
  {%- set system = "A chat between a curious user and an artificial intelligence assistant. "
                   "The assistant gives helpful, detailed, and polite answers to the user's questions." -%}
{%- endif -%}
{{- system + ' ' -}}
{%- for turn in turns -%}
  {%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
  {%- endif -%}
  {%- if turn['role'] == 'user' -%}
    {{- 'USER: ' + turn['content'] + ' ' -}}
  {%- elif turn['role'] == 'assistant' -%}
    {{- 'ASSISTANT: ' + turn['content'] + eos_token -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- 'ASSISTANT:' -}}
{%- endif -%})";

// Blank lines part the turns, so there are none within one.
constexpr std::string_view kFalconInstruct = R"({%- if messages[0]['role'] == 'system' -%}
  {%- set turns = messages[1:] -%}
  {{- messages[0]['content'].strip() -}}
{%- else -%}
  {%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
  {%- set content = turn['content'].strip().replace('\r\n', '\n').replace('\n\n', '\n') -%}
  {%- if turn['role'] == 'user' -%}
    {{- '\n\nUser: ' + content -}}
  {%- elif turn['role'] == 'assistant' -%}
    {{- '\n\nAssistant: ' + content -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '\n\nAssistant:' -}}
{%- endif -%})";

constexpr std::string_view kMptInstruct = R"({%- if messages[0]['role'] == 'system' -%}
  {%- set turns = messages[1:] -%}
  {%- set system = messages[0]['content'] -%}
{%- else -%}
  {%- set turns = messages -%}
  {%- set system = 'Below is an instruction that describes a task. '
                   'Write a response that appropriately completes the request.' -%}
{%- endif -%}
{{- system + '\n\n' -}}
{%- for turn in turns -%}
  {%- if turn['role'] == 'user' -%}
    {{- '### Instruction:\n' + turn['content'] + '\n\n' -}}
  {%- elif turn['role'] == 'assistant' -%}
    {{- '### Response:\n' + turn['content'] + '\n\n' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '### Response:\n' -}}
{%- endif -%})";

constexpr std::string_view kChatMl = R"({%- for message in messages -%}
  {{- '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
{%- endif -%})";

// It was trained on plain instructions; what it is to write needs an explicit beginning.
constexpr std::string_view kBloomz = R"({%- for message in messages -%}
  {{- ('' if loop.first else '\n') + message['content'].strip() -}}
{%- endfor -%}
{%- if add_generation_prompt and not messages[-1]['content'].strip().endswith('Answer:') -%}
  {{- '\nAnswer:' -}}
{%- endif -%})";

}  // namespace

std::span<const BuiltinChatTemplate> builtin_chat_templates() {
  constexpr std::string_view kEndOfText = "<|endoftext|>";
  static const std::array<BuiltinChatTemplate, 6> kTemplates = {{
      {"llama-2-chat", kLlama2Chat, "<s>", "</s>", {}},
      {"vicuna", kVicuna, "<s>", "</s>", {}},
      {"falcon-instruct", kFalconInstruct, kEndOfText, kEndOfText, {"\nUser"}},
      {"mpt-instruct", kMptInstruct, kEndOfText, kEndOfText, {"### Instruction:"}},
      {"chatml", kChatMl, kEndOfText, "<|im_end|>", {std::string(kEndOfText)}},
      {"bloomz", kBloomz, "<s>", "</s>", {}},
  }};
  return kTemplates;
}

}  // namespace kvasir::text
