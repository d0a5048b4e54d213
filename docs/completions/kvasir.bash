# Completion of kvasir's commands and options for bash. The test docs.options compares them with --help.
_kvasir() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  local model='--model -m' threads='--threads --isa --precision' help='--help -h --color'
  local decoding='--decode --max-seq-len --doc-stride --max-answer-len --handle-impossible-answer --no-align-to-words
    --n-best-size --null-score-diff-threshold --pad-to-max-length'
  local generating='--max-new-tokens -n --stop --ignore-eos --json-schema --prompt-lookup-num-tokens --truncate --context-shift
    --context-keep --temperature --top-k --top-p --min-p --seed --num-return-sequences --repetition-penalty --presence-penalty --frequency-penalty
    --logit-bias --num-beams --length-penalty --early-stopping --kv-type'
  local training='--train-file --validation-file --output-dir --train-batches --log-json --config --learning-rate --num-train-epochs
    --max-steps --per-device-train-batch-size --batch-tokens --gradient-accumulation-steps --warmup-ratio --warmup-steps --weight-decay
    --adam-beta1 --adam-beta2 --adam-epsilon --max-grad-norm --lr-scheduler-type --layerwise-lr-decay --freeze --ema --seed --data-seed
    --no-dropout --max-seq-length --doc-stride --group-by-length --logging-steps --eval-strategy --eval-steps --save-strategy
    --save-steps --save-total-limit --load-best-model-at-end --metric-for-best-model --early-stopping-patience --resume-from-checkpoint
    --lora-r --lora-alpha --lora-dropout --lora-target-modules --adapter --teacher --teacher-logits --distil-alpha --distil-temperature'
  local words=

  case $previous in
    --decode) words='kvasir pipeline squad' ;;
    --metric) words='v1.1 v2.0' ;;
    --isa) words='scalar avx2 avx512' ;;
    --precision) words='auto fp32 bf16 int8' ;;
    --early-stopping) words='true false never' ;;
    --chat-template) words='llama-2-chat vicuna falcon-instruct mpt-instruct chatml bloomz' ;;
    --kv-type) words='auto f32 f16 q8_0' ;;
    --passages) words='paragraph line file' ;;
    --store) words='int8 fp16' ;;
    --lr-scheduler-type) words='linear cosine constant' ;;
    --eval-strategy | --save-strategy) words='no steps epoch' ;;
    --color) words='auto always never' ;;
    --model | -m)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
  esac
  if [[ -z $words && ($COMP_CWORD -eq 1 || ($COMP_CWORD -eq 2 && $command == help)) ]]; then
    words="ask embed rerank generate chat train merge eval tokenize logits bench pull list show quantize rm help --version $help"
  elif [[ -z $words && $command == train && $COMP_CWORD -eq 2 ]]; then
    words="qa plot $help"
  elif [[ -z $words && $command == eval && $COMP_CWORD -eq 2 ]]; then
    words="squad score $help"
  elif [[ -z $words && $current == -* ]]; then
    case $command in
      ask) words="--generate --reader --max-passages --chat-template --question -q --context --top-k -k --json $decoding $model $threads $help" ;;
      embed) words="--text --jsonl --out -o --similarity --prompt-name --prompt --json $model $threads $help" ;;
      rerank) words="--query -q --passages --top-k -k --jsonl --json $model $threads $help" ;;
      generate) words="--prompt -p --json --no-special-tokens $generating $model $threads $help" ;;
      chat) words="--system --load --chat-template $generating $model $threads $help" ;;
      train)
        words="qa plot $help"
        case ${COMP_WORDS[2]} in
          qa) words="$training --isa --threads --model -m $help" ;;
          plot) words="--out $help" ;;
        esac
        ;;
      merge) words="--model -m --adapter --output-dir $help" ;;
      eval)
        words="--data --predictions --metric --json $help"
        case ${COMP_WORDS[2]} in
          squad) words+=" --na-prob-out $decoding $model $threads" ;;
          score) words+=' --na-prob --na-prob-thresh' ;;
        esac
        ;;
      tokenize) words="--pair --jsonl --no-special-tokens $model $help" ;;
      logits) words="--ids --out $model $threads $help" ;;
      bench) words="--json $model $threads $help" ;;
      pull) words="--revision --quiet $help" ;;
      list | show) words="--json $help" ;;
      quantize) words="--out -o --type --store --text --max-error --json $model $threads $help" ;;
      rm) words="$help" ;;
    esac
  fi
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _kvasir kvasir
