# What a script of builtins uses of its shell; no other program is started. Each check ends the script with code 1 if something
# is not as it should be; the last line says how many there were.
set -u
count=0

check() { # name, found, wanted
    if [[ $2 != "$3" ]]; then
        printf 'not so: %s: found "%s", not "%s"\n' "$1" "$2" "$3"
        exit 1
    fi
    printf 'ok %s\n' "$1"
    count=$((count + 1))
}

check 'the version is known' "${BASH_VERSINFO[0]}" 5
check 'arguments come in' "$# $1" '2 one'
check 'arithmetic' "$(( (7 ** 3 - 1) / 2 % 100 << 2 )) $((16#ff)) $((5 > 3 ? 10 : 20))" '284 255 10'

sum=0
for ((i = 1; i <= 2000; i++)); do
    ((i % 3 == 0 || i % 5 == 0)) && ((sum += i))
done
check 'loops' "$sum" 933668

list=(delta alpha charlie bravo)
list+=(echo)
sorted=()
for word in "${list[@]}"; do
    for ((at = ${#sorted[@]}; at > 0; at--)); do
        [[ ${sorted[at - 1]} > $word ]] || break
        sorted[at]=${sorted[at - 1]}
    done
    sorted[at]=$word
done
check 'arrays' "${sorted[*]} ${#list[@]} ${list[*]:1:2}" 'alpha bravo charlie delta echo 5 alpha charlie'

declare -A ages=([ada]=36 [bob]=41)
ages[eve]=29
total=0
for name in "${!ages[@]}"; do ((total += ages[$name])); done
check 'tables' "$total ${ages[bob]}" '106 41'

text='The quick brown fox'
check 'expansions' "${text#* } ${text%% *} ${#text} ${text/quick/slow} ${text^^} ${text:4:5} ${none:-default}" \
    'quick brown fox The 19 The slow brown fox THE QUICK BROWN FOX quick default'
check 'braces and quotes' "$(( 1 )){a,b} "$'tab\there' $'1{a,b} tab\there'

factorial() {
    local number=$1
    if ((number < 2)); then
        result=1
    else
        factorial $((number - 1))
        ((result *= number))
    fi
}
factorial 20
check 'functions call themselves' "$result" 2432902008176640000

kind() {
    case $1 in
        [0-9]*) result=number ;;
        a* | b*) result=early ;;
        ?) result=letter ;;
        *) result=other ;;
    esac
}
kinds=
for word in 42 apple x zebra; do kind "$word"; kinds+="$result "; done
check 'patterns of case' "$kinds" 'number early letter other '

[[ 2024-02-29 =~ ^([0-9]{4})-([0-9]{2})-([0-9]{2})$ ]]
check 'regular expressions' "${BASH_REMATCH[1]}/${BASH_REMATCH[3]}" '2024/29'

read -r first rest <<< 'one two  three'
check 'here-strings' "$first|$rest" 'one|two  three'
lines=0
while IFS=: read -r key value; do
    [[ $key == b ]] && found=$value
    lines=$((lines + 1))
done << END
a:1
b:$((20 + 22))
c:3
END
check 'here-documents' "$lines $found" '3 42'

for ((i = 0; i < 500; i++)); do echo "line $i"; done > /tmp/lines
printf '%05.1f %s %x\n' 2.25 text 255 >> /tmp/lines
mapfile -t all < /tmp/lines
check 'files in /tmp' "${#all[@]} ${all[499]} ${all[500]}" '501 line 499 002.2 text ff'
exec 5< /tmp/lines
read -r -u 5 first
exec 5<&-
check 'descriptors' "$first" 'line 0'
[[ -f /tmp/lines && ! -e /tmp/absent && -d /rom && -r /rom/bash-script.sh ]]
check 'tests of files' $? 0
names=(/tmp/l*)
check 'names are found by patterns' "${names[*]}" /tmp/lines
cd /tmp
check 'the folder changes' "$PWD" /tmp

printf -v padded '%-6s|%3d' ab 7
check 'printf into variables' "$padded" 'ab    |  7'
trap 'result=trapped' USR1
result=
kill -USR1 $$
check 'traps of signals to itself' "$result" trapped
declare -i number=5*4
readonly number
check 'declared numbers' "$number" 20
shopt -s extglob
check 'extended patterns' "${text//+([a-z])/_}" 'T_ _ _ _'
getopts ab: option -b value
check 'options' "$option $OPTARG" 'b value'
eval 'result=$((1 + 1))'
check 'eval' "$result" 2
SECONDS=0
check 'the clock' "$((EPOCHSECONDS > 1600000000)) $SECONDS" '1 0'
[[ $RANDOM != "$RANDOM$RANDOM" ]]
check 'random numbers' $? 0

printf '%d checks, all fine\n' "$count"
