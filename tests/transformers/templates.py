"""Chat templates of our own: in the styles of the families, and such that show what Jinja is to transformers."""

ASSISTANT = "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}"

STYLES = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" + ASSISTANT,
    "chatml, marked": """{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {%- if m.role == 'assistant' %}
        {%- generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}
    {%- else %}
        {{- m.content + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
""" + ASSISTANT,
    "llama 2": """{%- if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set about = '<<SYS>>\\n' + messages[0].content.strip() + '\\n<</SYS>>\\n\\n' %}
{%- else %}{% set rest = messages %}{% set about = '' %}{% endif %}
{%- for m in rest %}
    {%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant take turns') }}{% endif %}
    {%- set said = about + m.content if loop.first else m.content %}
    {%- if m.role == 'user' %}{{ bos_token ~ '[INST] ' ~ said.strip() ~ ' [/INST]' }}
    {%- else %}{{ ' ' + said.strip() + ' ' + eos_token }}{% endif %}
{%- endfor %}""",
    "llama 3": """{{- bos_token }}
{%- set day = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + day + '\\n\\n' }}
{%- if tools is not none %}{{ 'Tools: ' }}{% for t in tools %}{{ t | tojson(indent=4) + '\\n\\n' }}{% endfor %}{% endif %}
{%- if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}{% endif %}{{ '<|eot_id|>' }}
{%- for m in messages %}
    {%- if 'tool_calls' in m %}
        {%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + m.tool_calls[0].function.name + '", "parameters": ' }}{{ m.tool_calls[0].function.arguments | tojson }}{{ '}<|eot_id|>' }}
    {%- elif m.role in ['tool', 'ipython'] %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}{{ m.content | tojson if m.content is mapping or m.content is iterable else m.content }}{{ '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
    "llama guard, parts": """{%- for m in messages %}
{{- '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\\n\\n' }}
    {%- for part in m.content %}{% if part.type == 'text' %}{{ part.text | trim }}{% endif %}{% endfor %}
{{- '<|eot_id|>' }}
{%- endfor %}""",
    "mistral": """{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}{{ bos_token }}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {%- if tools is not none and m == users[-1] %}{{ '[AVAILABLE_TOOLS] [' }}{% for t in tools %}{% set t = t.function %}{{ '{"type": "function", "function": {' }}{% for key, value in t.items() if key != 'return' %}{% if value is string %}{{ '"' + key + '": "' + value + '"' }}{% else %}{{ '"' + key + '": ' + value | tojson }}{% endif %}{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}{{ '}}' }}{% if not loop.last %}{{ ', ' }}{% else %}{{ ']' }}{% endif %}{% endfor %}{{ '[/AVAILABLE_TOOLS]' }}{% endif %}
        {{- '[INST] ' + m.content + '[/INST]' }}
    {%- elif m.tool_calls is defined and m.tool_calls is not none %}
        {{- '[TOOL_CALLS] [' }}{% for c in m.tool_calls %}{% set out = c.function | tojson %}{{ out[:-1] }}{% if not c.id is defined or c.id | length != 9 %}{{ raise_exception('an id has nine letters') }}{% endif %}{{ ', "id": "' + c.id + '"}' }}{{ ', ' if not loop.last else ']' + eos_token }}{% endfor %}
    {%- elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}
    {%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS] {"content": ' + m.content | string + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}""",
    "phi": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + '\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
    "gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if m['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}""",
    "qwen 2.5": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}{{ messages[0].content if messages[0].role == 'system' else 'You help.' }}{{ '\\n\\n<tools>' }}
    {%- for t in tools %}{{ '\\n' }}{{ t | tojson }}{% endfor %}{{ '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}
{%- for m in messages %}
    {%- if m.role == 'user' or (m.role == 'system' and not loop.first) or (m.role == 'assistant' and not m.tool_calls) %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}
    {%- elif m.role == 'assistant' %}{{ '<|im_start|>' + m.role }}{% if m.content %}{{ '\\n' + m.content }}{% endif %}
        {%- for c in m.tool_calls %}{% if c.function is defined %}{% set c = c.function %}{% endif %}{{ '\\n<tool_call>\\n{"name": "' }}{{ c.name }}{{ '", "arguments": ' }}{{ c.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}
    {%- elif m.role == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}{{ '\\n<tool_response>\\n' }}{{ m.content }}{{ '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}
    {%- endif %}
{%- endfor %}
""" + ASSISTANT,
    "qwen 3": """{%- set ns = namespace(last=messages|length - 1, open=true) %}
{%- for m in messages[::-1] %}{% set index = messages|length - 1 - loop.index0 %}{% if ns.open and m.role == 'user' and m.content is string and not m.content.startswith('<tool_response>') %}{% set ns.open = false %}{% set ns.last = index %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- set said = m.content if m.content is string else '' %}
    {%- if m.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if m.reasoning_content is string %}{% set thought = m.reasoning_content %}
        {%- elif '</think>' in said %}{% set thought = said.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{% set said = said.split('</think>')[-1].lstrip('\\n') %}{% endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}{{ '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + said.lstrip('\\n') }}{% else %}{{ said }}{% endif %}
        {%- for c in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' }}{% if c.function.arguments is string %}{{ c.function.arguments }}{% else %}{{ c.function.arguments | tojson }}{% endif %}{{ '\\n</tool_call>' }}{% endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}{{ '<|im_start|>' + m.role + '\\n' + said + '<|im_end|>\\n' }}{% endif %}
{%- endfor %}
""" + ASSISTANT + "{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif -%}",
    "always thinking": """{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {%- if m.role == 'assistant' and loop.last %}{{ '<think>\\n' + (m.reasoning_content or '').strip() + '\\n</think>\\n\\n' }}{% endif %}
    {{- m.content + '<|im_end|>\\n' }}
{%- endfor %}
""" + ASSISTANT + "{%- if add_generation_prompt %}{{ '<think>\\n' }}{% endif -%}",
    "deepseek r1": """{%- set ns = namespace(about='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.about = m.content %}{% endif %}{% endfor %}{{ bos_token }}{{ ns.about }}
{%- for m in messages %}
    {%- if m.role == 'user' %}{{ '<|User|>' + m.content }}{% endif %}
    {%- if m.role == 'assistant' and m.content is not none %}{% set said = m.content %}{% if '</think>' in said %}{% set said = said.split('</think>')[-1] %}{% endif %}{{ '<|Assistant|>' + said + eos_token }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}""",
    "granite": """{%- macro about() %}{{ 'Today is ' + strftime_now('%B %-d, %Y') + '.' }}{% if documents %}{{ ' Use the documents.' }}{% endif %}{% if thinking %}{{ ' Think.' }}{% endif %}{% endmacro %}
{{- '<|start_of_role|>system<|end_of_role|>' + (messages[0].content if messages[0].role == 'system' else about()) + '<|end_of_text|>\\n' }}
{%- if tools %}{{ '<|start_of_role|>tools<|end_of_role|>' }}{{ tools | tojson(indent=4) }}{{ '<|end_of_text|>\\n' }}{% endif %}
{%- if documents %}{% for d in documents %}{{ '<|start_of_role|>document ' }}{{ {'id': loop.index} | tojson }}{{ '<|end_of_role|>' + d.text + '<|end_of_text|>\\n' }}{% endfor %}{% endif %}
{%- for m in messages if not (m.role == 'system' and loop.first) %}{{ '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] + '<|end_of_text|>\\n' }}
    {%- if loop.last and add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}{% endfor %}""",
    "smollm3": """{%- set mode = '/think' if enable_thinking | default(true) else '/no_think' %}
{{- '<|im_start|>system\\n## Metadata\\n\\nToday Date: ' ~ strftime_now('%d %B %Y') ~ '\\nReasoning Mode: ' ~ mode ~ '\\n\\n' }}
{%- if tools %}{% for t in tools %}{{ t | string }}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}
{%- for m in messages %}
    {%- set said = m.content if m.content is string else '' %}
    {%- if m.role == 'user' %}{{ '<|im_start|>user\\n' + said + '<|im_end|>\\n' }}
    {%- elif m.role == 'assistant' %}{% generation %}{% if mode == '/think' %}{{ '<|im_start|>assistant\\n' + said.lstrip('\\n') + '<|im_end|>\\n' }}{% else %}{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' + said.lstrip('\\n') + '<|im_end|>\\n' }}{% endif %}{% endgeneration %}
    {%- elif m.role == 'tool' %}{{ '<|im_start|>user\\n' + m.content | string + '<|im_end|>\\n' }}{% endif %}
{%- endfor %}
""" + ASSISTANT + "{%- if add_generation_prompt and mode == '/no_think' %}{{ '<think>\\n\\n</think>\\n' }}{% endif -%}",
    "channels": """{%- macro kind(p) %}{% if p.type == 'array' %}{{ kind(p['items']) + '[]' }}{% else %}{{ p.type }}{% endif %}{% endmacro %}
{{- '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '\\nReasoning: ' + (reasoning_effort if reasoning_effort is defined else 'medium') + '<|end|>' }}
{%- if tools %}{{ '<|start|>developer<|message|>' }}{% for t in tools %}{{ 'type ' + t.function.name + ' = (_: {\\n' }}{% for name, p in t.function.parameters.properties.items() %}{{ name + ': ' + kind(p) }}{% if p.default is defined %}{{ ', // default: ' ~ p.default }}{% endif %}{{ '\\n' }}{% endfor %}{{ '}) => any;\\n' }}{% endfor %}{{ '<|end|>' }}{% endif %}
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {%- if 'tool_calls' in m %}{{ '<|start|>assistant to=functions.' + m.tool_calls[0].function.name + '<|channel|>commentary json<|message|>' }}{{ m.tool_calls[0].function.arguments | tojson }}{{ '<|call|>' }}
        {%- elif loop.last and not add_generation_prompt %}{% if 'thinking' in m %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}
        {%- else %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endif %}
    {%- elif m.role == 'tool' %}{{ '<|start|>functions to=assistant<|message|>' + m.content | tojson + '<|end|>' }}
    {%- else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt -%}
<|start|>assistant
{%- endif -%}""",
}

ALL = "{%- for m in messages %}{{ m.role }}:{{ m.content }};{% endfor -%}"

ENVIRONMENT = {
    "escapes": r"""{{ 'a\tb\x41\101\u00e9\U0001F600\q\'"\\' }}{{ "it's \"so\"\a" }}""" + ALL,
    "joined line": "{{ 'first \\\n   second' }}" + ALL,
    "line in a string": "{{ 'first\nsecond' }}" + ALL,
    "windows lines": "{% for m in messages %}\r\n  {{ m.role }}: {{ m.content }}\r\n{% endfor %}\r\nend\r\n",
    "old lines": "{% for m in messages %}\r{{ m.role }}{{ m.content }}\r{% endfor %}end\r",
    "ends with lines": ALL + "\n\n\n",
    "white space": "  {% for m in messages %}  \n\t {%- if loop.first -%}  first {%+ endif %}\n  {% if true +%}\n x {{- ' y ' -}} z\n  {# a comment #}\n   {#- another -#}  \n {% endif %}  \n{{ m.content }}\n{% endfor %}  \n",
    "raw": "{% raw %}{{ 'x' }}{% generation %}{%- endraw %}{% raw -%}  a {% endraw -%}  b" + ALL,
    "absent": "{{ tools is none }}{{ tools is defined }}{{ documents is none }}{% if tools is not none %}T{% endif %}{{ nothing is defined }}{{ enable_thinking is defined }}[{{ nothing }}]" + ALL,
    "keys": "{% for m in messages %}{{ m.keys() | list | sort | join(',') }};{{ 'content' in m }}{{ m.get('name', 'nobody') }};{% endfor %}",
    "dates": "{{ strftime_now('%A %a %B %b %-d %d %-m %m %y %Y %H:%M:%S %-H %I %p %j %U %W %u %w %e %F %T %D %R %c %x %X %% %Z|%z %f %G-W%V %h %n%t %k %l %s %E %Q %5d %_d %^a %#p %C %g %r') }}" + ALL,
    "json": "{% for m in messages %}{{ m.content | tojson }}{{ m | tojson(indent=2) }}{% endfor %}{{ {'b': [1, 2.0, 1e20, 1e-7, none, true, 'ü<&>\\''], 'a': {}} | tojson(sort_keys=true, separators=(',', ':')) }}{{ ['é😀', [], {}, [[1]]] | tojson(ensure_ascii=true, indent=1) }}{{ tools | tojson }}",
    "printed": "{{ [1, 'a', \"it's\", none, true, 2.5, {'k': ['v\\n']}, ('t',)] }}{{ {'a': 'b'} | string }}{{ 1.0 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 8 }} {{ true }} {{ none }}{{ 'x' ~ 1 ~ none ~ true }}" + ALL,
    "strings": "{% for m in messages if m.content is string %}{{ m.content.strip() }}|{{ m.content.rstrip('.') }}|{{ m.content.lstrip('\\n ') }}|{{ m.content.split(' ') | length }}|{{ m.content.split() | join('_') }}|{{ m.content.split(' ', 1)[-1] }}|{{ m.content.rsplit(' ', 1)[0] }}|{{ m.content.partition(' ')[2] }}|{{ m.content.removeprefix('W') }}|{{ m.content.title() }}|{{ m.content.capitalize() }}|{{ m.content.upper() }}|{{ m.content.find('e') }}|{{ m.content.count('e') }}|{{ m.content.replace('e', '3', 1) }}|{{ m.content.startswith(('W', 'H')) }}|{{ m.content.isdigit() }}|{{ m.content[::-1] }}|{{ m.content[1:4] }}|{{ m.content[-3:] }}|{{ m.content | length }}|{{ m.content.zfill(5) }}|{{ m.content.splitlines() }}|{{ 'x{}y{}'.format(1, 'z') }}|{{ '%s-%d' | format('a', 3) }}\n{% endfor %}",
    "loops": "{% for m in messages recursive %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.cycle('a', 'b') }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if loop.nextitem is defined }}{% if loop.index == 2 %}{% continue %}{% endif %}{{ loop.changed(m.role) }}{% if loop.index > 4 %}{% break %}{% endif %}{% else %}none{% endfor %}",
    "sets": "{% set x = 1 %}{% for m in messages %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}{% set ns = namespace(n=0, text='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.text = ns.text ~ m.role[0] %}{% endfor %}{{ ns.n ~ ns.text }}{% set block %}<{{ ns.n }}>{% endset %}{{ block }}{% set a, b = 'p', 'q' %}{{ a ~ b }}{% set d = dict(k=1) %}{{ d.k }}{% if x is defined and y is not defined %}!{% endif %}",
    "macros": "{% macro say(m, end='.', extra=none) %}[{{ m.role }}{{ end }}{{ extra is none }}]{% endmacro %}{% for m in messages %}{{ say(m) }}{{ say(m, end='!') }}{{ say(m, '?', 1) }}{% endfor %}{% macro wrap() %}({{ caller() }}){% endmacro %}{% call wrap() %}{{ messages | length }}{% endcall %}",
    "filters": "{{ messages | map(attribute='role') | join(', ') }}{{ messages | selectattr('role', 'eq', 'user') | list | length }}{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | list }}{{ (messages | first).role }}{{ (messages | last).role }}{{ [3, 1, 2] | sort | reverse | list }}{{ 'a b' | title }}{{ ' x ' | trim }}{{ 'abc' | upper | replace('B', 'x') }}{{ nothing | default('d') }}{{ '' | default('e', true) }}{{ [1, 2] | sum }}{{ 'x\\ny' | indent(2) }}{{ 'abc' | list }}{{ '5' | int + 1 }}{{ 3.7 | round | int }}{{ -3 | abs }}{{ [1, 1, 2] | unique | list }}{{ {'b': 1, 'a': 2} | dictsort }}{{ {'b': 1} | items | list }}{{ [1, 2, 3] | batch(2) | list }}{{ 'a' in 'abc' }}{{ 1 in [1] }}{{ [1] + [2] }}{{ 'ab' * 2 }}{{ range(3) | list }}{{ range(5, 1, -2) | list }}",
    "tests": "{% for m in messages %}{{ m.content is string }}{{ m.content is iterable }}{{ m.content is sequence }}{{ m is mapping }}{{ m.content is mapping }}{{ m.tool_calls is defined }}{{ m.tool_calls is iterable }}{{ loop.index is odd }}{{ loop.index is divisibleby 2 }}{{ m.role is in ['user'] }}{{ m.role is eq 'user' }}{{ none is none }}{{ 1 is number }}{{ 1.5 is float }}{{ true is boolean }}{{ m.content is undefined }}{{ true is true }}{{ m.role == 'user' and 'U' or 'A' }}{{ 'yes' if m.content else 'no' }};{% endfor %}",
    "percent": "{{ '%s' % 'b' }}" + ALL,
    "more arguments": "{% macro say() %}{{ varargs | join(',') }}{% endmacro %}{{ say(1, 2) }}" + ALL,
    "generation, scopes": "{% set x = 'out' %}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% set x = 'in' %}{{ m.content }}{{ x }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ x }}\n{% endfor %}",
    "generation, counts": "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'assistant' %}{%- generation -%}{% set ns.n = ns.n + 1 %} {{ m.content }}{{ ns.n }}{%- endgeneration -%}{% else %}{{ m.content }}{% endif %}{{ ns.n }}{% endfor %}",
    "generation, gaps": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}, said he{% generation %}!{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "generation, twice": "{% for m in messages %}{% if m.role == 'assistant' %}<{% generation %}{{ m.content }}{% endgeneration %}{% generation %}!{% endgeneration %}>{% else %}{{ m.content }}{% endif %}{% endfor %}",
}
