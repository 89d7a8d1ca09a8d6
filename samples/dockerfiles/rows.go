package dockerfiles

// checksum is the digest of file.txt that Listen serves.
const checksum = "sha256:0c7fcf412c36e9e1cfc3cca37cec9afedcfca86e1943f6827c36e88dfda41642"

// Rows are all Dockerfiles.
func Rows() []Row {
	var all []Row
	for _, part := range [][]Row{basics, settings, copies, adds, runs, mounts, contexts} {
		all = append(all, part...)
	}
	return all
}

// list prints what is below a folder of the image: mode, owner, name, and the text of each file.
const list = `cd /out && find . | sort | while read -r f; do stat -c '%A %u:%g %n' "$f"; [ -f "$f" ] && [ ! -L "$f" ] && cat "$f" && echo; [ -L "$f" ] && readlink "$f"; done; true`

var basics = []Row{
	{Name: "FROM", Text: "FROM busybox:latest", Run: "echo base", Want: "base\n"},
	{Name: "FROM --platform", Text: "FROM --platform=$BUILDPLATFORM busybox:latest", Run: "echo base", Want: "base\n"},
	{Name: "FROM scratch", Text: "FROM busybox:latest AS b\nFROM scratch\nCOPY --from=b /bin/busybox /busybox\nCMD [\"/busybox\", \"echo\", \"from scratch\"]", Want: "from scratch\n"},
	{Name: "FROM AS", Text: "FROM busybox:latest AS one\nRUN echo one > /one\nFROM one\nCMD [\"cat\", \"/one\"]", Want: "one\n"},
	{Name: "ARG before FROM", Text: "ARG BASE=none\nFROM ${BASE}\nARG BASE\nRUN echo \"$BASE\" > /base\nCMD [\"cat\", \"/base\"]", Flags: []string{"--build-arg", "BASE=busybox:latest"}, Want: "busybox:latest\n"},
	{Name: "ARG", Text: "FROM busybox:latest\nARG A=default\nARG B\nARG C=$A\nRUN echo \"$A $B $C\" > /args\nCMD [\"cat\", \"/args\"]", Flags: []string{"--build-arg", "B=given"}, Want: "default given default\n"},
	{Name: "ARG predefined", Text: "FROM busybox:latest\nARG TARGETOS\nARG TARGETARCH\nRUN echo \"$TARGETOS${TARGETARCH:+/arch} $HTTP_PROXY\" > /args\nCMD [\"cat\", \"/args\"]", Flags: []string{"--build-arg", "HTTP_PROXY=http://192.0.2.9:1"}, Want: "linux/arch http://192.0.2.9:1\n"},
	{Name: "--target", Text: "FROM busybox:latest AS one\nCMD [\"echo\", \"one\"]\nFROM one AS two\nCMD [\"echo\", \"two\"]", Flags: []string{"--target", "one"}, Want: "one\n"},
	{Name: "comments and escapes", Text: "# escape=`\nFROM busybox:latest\n# a comment\nENV A=1 `\n# within\n    B=2\nRUN echo $A`\n$B > /x\nCMD [\"cat\", \"/x\"]", Want: "12\n"},
	{Name: "# syntax", Text: "# syntax=docker/dockerfile:1\nFROM busybox:latest\nCMD [\"echo\", \"syntax\"]", Want: "syntax\n"},
	{Name: "--label", Text: "FROM busybox:latest\nLABEL own=1 given=no", Flags: []string{"--label", "given=yes", "--label", "more=2"}, Run: "echo labels", Want: "labels\n"},
	{Name: "-f", Text: "FROM scratch", Files: map[string]string{"docker/Other": "FROM busybox:latest\nCMD [\"echo\", \"other\"]"}, Flags: []string{"-f", "{{CONTEXT}}/docker/Other"}, Want: "other\n"},
}

var settings = []Row{
	{Name: "MAINTAINER", Text: "FROM busybox:latest\nMAINTAINER some body <a@example.com>", Run: "echo m", Want: "m\n"},
	{Name: "LABEL", Text: "FROM busybox:latest\nLABEL one=1 two=\"2 3\" \\\n  three='4\"5'\nLABEL one=again", Run: "echo l", Want: "l\n"},
	{Name: "ENV", Text: "FROM busybox:latest\nENV A=1 B=\"2 3\" C=$A\\ b\nENV D=${A:-no} E=${NONE:-dflt} F=${A:+alt} G=\\$A\nENV A=2\nRUN echo \"$A,$B,$C,$D,$E,$F,$G\" > /env", Run: "cat /env; echo \"$A,$B,$C,$D,$E,$F,$G\"", Want: "2,2 3, b,1,dflt,alt,$A\n2,2 3, b,1,dflt,alt,$A\n"},
	{Name: "ENV old form", Text: "FROM busybox:latest\nENV old style with  spaces", Run: "echo \"$old\"", Want: "style with  spaces\n"},
	{Name: "WORKDIR", Text: "FROM busybox:latest\nENV D=/env\nWORKDIR /work\nWORKDIR relative\nRUN pwd > /pwd\nWORKDIR $D/x", Run: "cat /pwd; pwd", Want: "/work/relative\n/env/x\n"},
	{Name: "WORKDIR after USER", Text: "FROM busybox:latest\nUSER 12:34\nWORKDIR /mine/deep", Run: "stat -c '%u:%g %a' /mine /mine/deep", Want: "12:34 755\n12:34 755\n"},
	{Name: "USER", Text: "FROM busybox:latest\nUSER nobody", Run: "id -u", Want: "65534\n"},
	{Name: "USER uid:gid", Text: "FROM busybox:latest\nUSER 12:34\nRUN id -u > /tmp/u && id -g >> /tmp/u", Run: "cat /tmp/u; id -u; id -g", Want: "12\n34\n12\n34\n"},
	{Name: "EXPOSE", Text: "FROM busybox:latest\nARG P=99\nEXPOSE 80 443/tcp 53/udp $P 8000-8002 7/sctp", Run: "echo e", Want: "e\n"},
	{Name: "VOLUME", Text: "FROM busybox:latest\nRUN mkdir /data && echo seed > /data/f && chown 12:34 /data\nVOLUME /data /more\nVOLUME [\"/array\"]", Run: "cat /data/f; stat -c %u:%g /data; ls -d /more /array", Want: "seed\n12:34\n/array\n/more\n"},
	{Name: "STOPSIGNAL", Text: "FROM busybox:latest\nSTOPSIGNAL SIGQUIT", Run: "echo s", Want: "s\n"},
	{Name: "STOPSIGNAL number", Text: "FROM busybox:latest\nSTOPSIGNAL 9", Run: "echo s", Want: "s\n"},
	{Name: "HEALTHCHECK", Text: "FROM busybox:latest\nHEALTHCHECK --interval=3s --timeout=2s --start-period=4s --retries=5 CMD echo healthy | grep -q h", Run: "echo h", Want: "h\n"},
	{Name: "HEALTHCHECK --start-interval", Text: "FROM busybox:latest\nHEALTHCHECK --start-interval=1s --start-period=1m30s CMD [\"true\", \"a b\"]", Run: "echo h", Want: "h\n"},
	{Name: "HEALTHCHECK NONE", Text: "FROM busybox:latest\nHEALTHCHECK CMD true\nHEALTHCHECK NONE", Run: "echo h", Want: "h\n"},
	{Name: "SHELL", Text: "FROM busybox:latest\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN case $- in *e*) echo with -e > /shell;; esac\nCMD cat /shell", Want: "with -e\n"},
	{Name: "CMD shell", Text: "FROM busybox:latest\nCMD echo \"in a shell\"; exit 3", Want: "in a shell\n", Code: 3},
	{Name: "CMD exec", Text: "FROM busybox:latest\nCMD [\"echo\", \"$HOME\", \"a  b\"]", Want: "$HOME a  b\n"},
	{Name: "ENTRYPOINT shell", Text: "FROM busybox:latest\nCMD [\"lost\"]\nENTRYPOINT echo entry", Want: "entry\n"},
	{Name: "ENTRYPOINT exec", Text: "FROM busybox:latest\nENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"and\", \"command\"]", Want: "entry and command\n"},
	{Name: "ENTRYPOINT and CMD reset", Text: "FROM busybox:latest\nENTRYPOINT [\"false\"]\nCMD [\"x\"]\nENTRYPOINT []\nCMD [\"echo\", \"reset\"]", Want: "reset\n"},
	{Name: "ENTRYPOINT drops the base's CMD", Text: "FROM busybox:latest AS b\nCMD [\"lost\"]\nFROM b\nENTRYPOINT [\"echo\", \"only\"]", Want: "only\n"},
	{Name: "ONBUILD", Text: "FROM busybox:latest AS parent\nONBUILD ARG T=yes\nONBUILD RUN echo \"onbuild $T\" > /on\nFROM parent\nCMD [\"cat\", \"/on\"]", Want: "onbuild yes\n"},
	{Name: "ONBUILD kept", Text: "FROM busybox:latest\nONBUILD COPY . /src\nONBUILD USER me\nONBUILD RUN [\"a\", \"b\"]", Run: "echo o", Want: "o\n"},
}

var copies = []Row{
	{Name: "COPY", Text: "FROM busybox:latest\nCOPY a.txt b.txt suid /out/\nCOPY a.txt /out/new/name\nCOPY tree /out/tree", Run: list, Want: treeList},
	{Name: "COPY to WORKDIR", Text: "FROM busybox:latest\nWORKDIR /w\nCOPY a.txt .\nCOPY tree/deep ./\nCOPY b.txt sub/", Run: "find /w | sort", Want: "/w\n/w/a.txt\n/w/sub\n/w/sub/b.txt\n/w/x.txt\n/w/y.md\n/w/zzz\n"},
	{Name: "COPY links", Text: "FROM busybox:latest\nCOPY link /out/followed\nCOPY tree/dirlink /out/dir\nCOPY tree/ /out/all/", Run: "ls -A /out /out/dir; readlink /out/all/dirlink; cat /out/followed", Want: "/out:\nall\ndir\nfollowed\n\n/out/dir:\nx.txt\ny.md\nzzz\ndeep\nA"},
	{Name: "COPY through a link", Text: "FROM busybox:latest\nRUN mkdir /real && ln -s /real /to\nCOPY a.txt /to/\nCOPY b.txt /to/deep/b", Run: "find /real | sort; readlink /to", Want: "/real\n/real/a.txt\n/real/deep\n/real/deep/b\n/real\n"},
	{Name: "COPY JSON", Text: "FROM busybox:latest\nCOPY [\"name with space\", \"/out/\"]", Run: "cat '/out/name with space'", Want: "spaced"},
	{Name: "COPY wildcards", Text: "FROM busybox:latest\nCOPY tree/d?ep/*.md tree/*.txt /out/\nCOPY [\"[a]*.txt\", \"/out/bracket/\"]", Run: "find /out | sort", Want: "/out\n/out/bracket\n/out/bracket/a.txt\n/out/top.txt\n/out/y.md\n"},
	{Name: "COPY --from stage", Text: "FROM busybox:latest AS files\nRUN mkdir /f && echo f > /f/f && chown 3:4 /f/f && chmod 600 /f/f\nFROM busybox:latest\nCOPY --from=files /f /out\nCOPY --from=0 /f/f /out/zero", Run: list, Want: "drwxr-xr-x 0:0 .\n-rw------- 3:4 ./f\nf\n\n-rw------- 3:4 ./zero\nf\n\n"},
	{Name: "COPY --from image", Text: "FROM scratch AS none\nFROM busybox:latest\nCOPY --from=busybox:latest /etc/passwd /out", Run: "cmp /out /etc/passwd && echo same", Want: "same\n"},
	{Name: "COPY --chown", Text: "FROM busybox:latest\nCOPY --chown=12:34 tree/deep /out\nCOPY --chown=nobody a.txt /out/user\nCOPY --chown=nobody:nogroup a.txt /out/both\nCOPY --chown=55 a.txt /out/id", Run: "stat -c '%u:%g %n' /out /out/*", Want: "12:34 /out\n65534:65534 /out/both\n55:55 /out/id\n65534:65534 /out/user\n12:34 /out/x.txt\n12:34 /out/y.md\n12:34 /out/zzz\n"},
	{Name: "COPY --chmod", Text: "FROM busybox:latest\nCOPY --chmod=640 a.txt /out/f\nCOPY --chmod=0751 tree/deep /out/d\nCOPY --chmod=4755 script.sh /out/s", Run: "stat -c '%a %n' /out /out/* /out/d/*", Want: "640 /out\n751 /out/d\n640 /out/f\n4755 /out/s\n751 /out/d/x.txt\n751 /out/d/y.md\n751 /out/d/zzz\n"},
	{Name: "COPY --chmod symbolic", Text: "FROM busybox:latest\nCOPY --chmod=u=rwx,go=rX tree /out", Run: "stat -c '%a %n' /out /out/top.md /out/deep", Want: "755 /out\n744 /out/top.md\n755 /out/deep\n"},
	{Name: "COPY --link", Text: "FROM busybox:latest\nRUN mkdir /real && ln -s real /out\nCOPY --link --chown=3:4 a.txt /out/\nCOPY --link tree /linked/tree/", Run: "ls -ld /out | cut -c1-10; stat -c '%u:%g %n' /out/a.txt /linked/tree/top.md", Want: "drwxr-xr-x\n3:4 /out/a.txt\n0:0 /linked/tree/top.md\n"},
	{Name: "COPY --parents", Text: "FROM busybox:latest\nCOPY --parents tree/./deep/x.txt tree/*/y.md /out/", Run: "find /out | sort", Want: "/out\n/out/deep\n/out/deep/x.txt\n/out/tree\n/out/tree/deep\n/out/tree/deep/y.md\n"},
	{Name: "COPY --exclude", Text: "FROM busybox:latest\nCOPY --exclude=**/*.md --exclude=deep/z* tree /out/", Run: "find /out | sort", Want: "/out\n/out/deep\n/out/deep/x.txt\n/out/dirlink\n/out/top.txt\n"},
	{Name: "COPY heredoc", Text: "FROM busybox:latest\nARG G=given\nCOPY <<one <<\"two\" /out/\nexpands ${G}\none\nkeeps ${G}\ntwo\nCOPY --chmod=755 <<-EOF /out/run\n\t#!/bin/sh\n\techo ran\n\tEOF", Run: "cat /out/one /out/two; /out/run", Want: "expands given\nkeeps ${G}\nran\n"},
	{Name: ".dockerignore", Text: "FROM busybox:latest\nCOPY . /out", Run: "ls /out/ignored; ls /out/*.skip 2>/dev/null; ls -A /out | grep ignore", Want: "yes.txt\n.dockerignore\nignored\n"},
	{Name: "NAME.dockerignore", Text: "FROM scratch", Files: map[string]string{"Own": "FROM busybox:latest\nCOPY . /out", "Own.dockerignore": "*\n!a.txt\n"}, Flags: []string{"-f", "{{CONTEXT}}/Own"}, Run: "ls -A /out", Want: "a.txt\n"},
}

const treeList = `drwxr-xr-x 0:0 .
-rw-r--r-- 0:0 ./a.txt
A
-rw-r----- 0:0 ./b.txt
B
drwxr-xr-x 0:0 ./new
-rw-r--r-- 0:0 ./new/name
A
-rwsr-xr-x 0:0 ./suid
suid
drwxr-xr-x 0:0 ./tree
drwxr-xr-x 0:0 ./tree/deep
-rw-r--r-- 0:0 ./tree/deep/x.txt
X
-rw------- 0:0 ./tree/deep/y.md
Y
-rw-r--r-- 0:0 ./tree/deep/zzz
Z
lrwxrwxrwx 0:0 ./tree/dirlink
deep
-rw-r--r-- 0:0 ./tree/top.md
T
-r--r--r-- 0:0 ./tree/top.txt
TT
`

var adds = []Row{
	{Name: "ADD", Text: "FROM busybox:latest\nADD a.txt tree/deep /out/", Run: "find /out | sort", Want: "/out\n/out/a.txt\n/out/x.txt\n/out/y.md\n/out/zzz\n"},
	{Name: "ADD archive", Text: "FROM busybox:latest\nADD archive.tar.gz /out/", Run: "cat /out/in/file; stat -c ' %u:%g %a' /out/in/file", Want: "unpacked 7:8 640\n"},
	{Name: "ADD --unpack=false", Text: "FROM busybox:latest\nADD --unpack=false archive.tar.gz /out/", Run: "ls /out", Want: "archive.tar.gz\n"},
	{Name: "ADD URL", Text: "FROM busybox:latest\nADD http://{{SERVER}}/file.txt /out/\nADD http://{{SERVER}}/archive.tar.gz /out/kept", Run: "cat /out/file.txt; stat -c ' %a' /out/file.txt; ls /out", Want: "fetched 600\nfile.txt\nkept\n"},
	{Name: "ADD --checksum", Text: "FROM busybox:latest\nADD --checksum=" + checksum + " http://{{SERVER}}/file.txt /out/", Run: "cat /out/file.txt", Want: "fetched"},
	{Name: "ADD --unpack URL", Text: "FROM busybox:latest\nADD --unpack=true http://{{SERVER}}/archive.tar.gz /out/", Run: "cat /out/in/file", Want: "fetched and unpacked"},
	{Name: "ADD --chown --chmod", Text: "FROM busybox:latest\nADD --chown=3:4 --chmod=611 a.txt /out/\nADD --chown=3:4 http://{{SERVER}}/file.txt /out/", Run: "stat -c '%u:%g %a %n' /out/*", Want: "3:4 611 /out/a.txt\n3:4 600 /out/file.txt\n"},
	{Name: "ADD --link", Text: "FROM busybox:latest\nADD --link archive.tar.gz /out/", Run: "cat /out/in/file", Want: "unpacked"},
	{Name: "ADD --exclude", Text: "FROM busybox:latest\nADD --exclude=*.md tree /out/", Run: "ls /out", Want: "deep\ndirlink\ntop.txt\n"},
	{Name: "ADD git", Text: "FROM busybox:latest\nADD http://{{SERVER}}/repo.git#v1 /out", Run: "cat /out/file; ls -A /out", Want: "one\nfile\n"},
	{Name: "ADD git folder", Text: "FROM busybox:latest\nADD http://{{SERVER}}/repo.git#main:sub /out", Run: "cat /out/file; ls -A /out", Want: "sub of main\nfile\n"},
	{Name: "ADD --keep-git-dir", Text: "FROM busybox:latest\nADD --keep-git-dir=true http://{{SERVER}}/repo.git#main /out", Run: "ls -A /out", Want: ".git\nfile\nsub\n"},
}

var runs = []Row{
	{Name: "RUN", Text: "FROM busybox:latest\nRUN mkdir /out && echo run > /out/f && ln -s f /out/l && ln /out/f /out/hard && mkfifo /out/fifo && chmod 1777 /out && rm /bin/wget", Run: "stat -c '%A %h %n' /out /out/*; ls /bin/wget 2>/dev/null", Want: "drwxrwxrwt 2 /out\n-rw-r--r-- 2 /out/f\nprw-r--r-- 1 /out/fifo\n-rw-r--r-- 2 /out/hard\nlrwxrwxrwx 1 /out/l\n", Code: 1},
	{Name: "RUN exec", Text: "FROM busybox:latest\nRUN [\"/bin/sh\", \"-c\", \"echo exec > /x\"]", Run: "cat /x", Want: "exec\n"},
	{Name: "RUN heredoc", Text: "FROM busybox:latest\nRUN <<EOF\necho one > /x\necho two >> /x\nEOF\nRUN <<E cat >> /x\nthree\nE", Run: "cat /x", Want: "one\ntwo\nthree\n"},
	{Name: "RUN heredoc with interpreter", Text: "FROM busybox:latest\nRUN <<EOF\n#!/bin/ash\necho $0 | grep -c . > /x\nEOF", Run: "cat /x", Want: "1\n"},
	{Name: "RUN deletes", Text: "FROM busybox:latest\nRUN mkdir -p /a/b /a/c && touch /a/b/f\nRUN rm -r /a/b && rmdir /a/c && mkdir /a/b", Run: "find /a", Want: "/a\n/a/b\n"},
	{Name: "RUN replaces", Text: "FROM busybox:latest\nRUN mkdir /d && touch /d/x && echo f > /f\nRUN rm -r /d && echo file > /d && rm /f && mkdir /f", Run: "cat /d; stat -c %F /f", Want: "file\ndirectory\n"},
	{Name: "RUN --network=none", Text: "FROM busybox:latest\nRUN --network=none ls /sys/class/net > /x", Run: "cat /x", Want: "lo\n"},
	{Name: "RUN --network=host", Text: "FROM busybox:latest\nRUN --network=host ls -d /sys/class/net/lo > /x", Flags: []string{"--allow", "network.host"}, Run: "cat /x", Want: "/sys/class/net/lo\n"},
	{Name: "RUN leaves no files of its own", Text: "FROM busybox:latest\nRUN echo hi > /etc/mine", Run: "cat /etc/mine", Want: "hi\n"},
	{Name: "RUN sees", Text: "FROM busybox:latest\nRUN (id -u; id -G; umask; pwd; hostname | grep -c .; ulimit -c; grep -c . /etc/resolv.conf | grep -c . ) > /x", Run: "head -n 4 /x", Want: "0\n0\n0022\n/\n"},
	{Name: "--add-host", Text: "FROM busybox:latest\nRUN grep extra /etc/hosts > /x", Flags: []string{"--add-host", "extra:10.0.0.9"}, Run: "cat /x", Want: "10.0.0.9\textra\n"},
	{Name: "--network none", Text: "FROM busybox:latest\nRUN ls /sys/class/net > /x", Flags: []string{"--network", "none"}, Run: "cat /x", Want: "lo\n"},
	{Name: "--shm-size --ulimit", Text: "FROM busybox:latest\nRUN df -k /dev/shm | tail -n 1 | awk '{print $2}' > /x; ulimit -n >> /x", Flags: []string{"--shm-size", "16m", "--ulimit", "nofile=333:444"}, Run: "cat /x", Want: "16384\n333\n"},
	{Name: "--no-cache", Text: "FROM busybox:latest\nRUN echo never cached > /x", Flags: []string{"--no-cache"}, Run: "cat /x", Want: "never cached\n"},
}

var mounts = []Row{
	{Name: "RUN --mount=type=bind", Text: "FROM busybox:latest\nRUN --mount=type=bind,target=/src cat /src/a.txt > /x; echo >> /x", Run: "cat /x", Want: "A\n"},
	{Name: "RUN --mount=type=bind,from", Text: "FROM busybox:latest AS s\nRUN mkdir /s && echo stage > /s/f\nFROM busybox:latest\nRUN --mount=from=s,source=/s,target=/m cat /m/f > /x; touch /m/no 2>/dev/null || echo read-only >> /x", Run: "cat /x", Want: "stage\nread-only\n"},
	{Name: "RUN --mount=type=bind,rw", Text: "FROM busybox:latest\nRUN --mount=type=bind,target=/src,rw touch /src/new && ls /src/new > /x", Run: "cat /x", Want: "/src/new\n"},
	{Name: "RUN --mount=type=cache", Text: "FROM busybox:latest\nRUN --mount=type=cache,target=/c,id=compare-c,uid=3,gid=4,mode=0751 stat -c '%u:%g %a' /c > /x; echo kept > /c/f\nRUN --mount=type=cache,target=/c,id=compare-c,uid=3,gid=4,mode=0751 cat /c/f >> /x", Run: "cat /x", Want: "3:4 751\nkept\n"},
	{Name: "RUN --mount=type=cache,from", Text: "FROM busybox:latest AS s\nRUN mkdir /s && echo seeded > /s/f\nFROM busybox:latest\nRUN --mount=type=cache,target=/c,id=compare-from,from=s,source=/s,sharing=locked cat /c/f > /x", Run: "cat /x", Want: "seeded\n"},
	{Name: "RUN --mount=type=cache,ro", Text: "FROM busybox:latest\nRUN --mount=type=cache,target=/c,id=compare-ro,ro touch /c/f 2>/dev/null || echo read-only > /x", Run: "cat /x", Want: "read-only\n"},
	{Name: "RUN --mount=type=tmpfs", Text: "FROM busybox:latest\nRUN --mount=type=tmpfs,target=/t grep ' /t ' /proc/mounts | cut -d' ' -f3 > /x; touch /t/f", Run: "cat /x", Want: "tmpfs\n"},
	{Name: "RUN --mount=type=tmpfs,size", Text: "FROM busybox:latest\nRUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -n 1 | awk '{print $2}' > /x", Run: "cat /x", Want: "1024\n"},
	{Name: "RUN --mount=type=secret", Text: "FROM busybox:latest\nRUN --mount=type=secret,id=s cat /run/secrets/s > /x; stat -c ' %u:%g %a' /run/secrets/s >> /x", Flags: []string{"--secret", "id=s,src={{DIR}}/secret"}, Run: "cat /x; cat /run/secrets/s 2>/dev/null", Want: "a secret 0:0 400\n", Code: 1},
	{Name: "RUN --mount=type=secret,target", Text: "FROM busybox:latest\nRUN --mount=type=secret,id=s,target=/a/b,uid=3,gid=4,mode=0444 stat -c '%u:%g %a' /a/b > /x", Flags: []string{"--secret", "id=s,src={{DIR}}/secret"}, Run: "cat /x", Want: "3:4 444\n"},
	{Name: "RUN --mount=type=secret,env", Text: "FROM busybox:latest\nRUN --mount=type=secret,id=s,env=S echo \"$S\" > /x; ls /run/secrets 2>/dev/null >> /x; true", Flags: []string{"--secret", "id=s,src={{DIR}}/secret"}, Run: "cat /x", Want: "a secret\n"},
	{Name: "RUN --mount=type=secret,required", Text: "FROM busybox:latest\nRUN --mount=type=secret,id=none ls /run/secrets 2>/dev/null || echo none > /x", Run: "cat /x", Want: "none\n"},
	{Name: "RUN --mount=type=ssh", Text: "FROM busybox:latest\nRUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && echo \"$SSH_AUTH_SOCK\" > /x; stat -c '%u:%g %a' $SSH_AUTH_SOCK >> /x", Flags: []string{"--ssh", "default={{DIR}}/key"}, Run: "cat /x", Want: "/run/buildkit/ssh_agent.0\n0:0 600\n"},
	{Name: "RUN --mount twice", Text: "FROM busybox:latest\nRUN --mount=type=tmpfs,target=/t --mount=type=bind,source=tree,target=/t/tree cat /t/tree/top.txt > /x", Run: "cat /x", Want: "TT"},
}

var contexts = []Row{
	{Name: "--build-context", Text: "FROM busybox:latest\nCOPY --from=other o.txt /x", Flags: []string{"--build-context", "other={{CONTEXT}}/other"}, Run: "cat /x", Want: "from another context"},
	{Name: "--build-context image", Text: "FROM replaced:none\nCMD [\"echo\", \"replaced\"]", Flags: []string{"--build-context", "replaced:none=docker-image://busybox:latest"}, Want: "replaced\n"},
	{Name: "missing file", Text: "FROM busybox:latest\nCOPY missing /x", Code: Fails},
	{Name: "failing RUN", Text: "FROM busybox:latest\nRUN echo why; exit 7", Code: Fails},
	{Name: "unknown instruction", Text: "FROM busybox:latest\nRUM echo", Code: Fails},
	{Name: "no stage", Text: "RUN true", Code: Fails},
	{Name: "unknown stage", Text: "FROM busybox:latest\nCOPY --from=nowhere:none /x /x", Code: Fails, Flags: []string{"--network", "none"}},
	{Name: "unknown flag", Text: "FROM busybox:latest\nCOPY --nonsense a.txt /", Code: Fails},
	{Name: "bad port", Text: "FROM busybox:latest\nEXPOSE 80/none", Code: Fails},
	{Name: "bad signal", Text: "FROM busybox:latest\nSTOPSIGNAL NONE", Code: Fails},
	{Name: "unknown user", Text: "FROM busybox:latest\nUSER nobodyatall\nRUN true", Code: Fails},
	{Name: "outside of the context", Text: "FROM busybox:latest\nCOPY ../../../etc/passwd /x", Code: Fails},
	{Name: "required secret", Text: "FROM busybox:latest\nRUN --mount=type=secret,id=none,required=true true", Code: Fails},
	{Name: "empty", Text: "# nothing\n", Code: Fails},
	{Name: "unknown target", Text: "FROM busybox:latest", Flags: []string{"--target", "none"}, Code: Fails},
	{Name: "wrong checksum", Text: "FROM busybox:latest\nADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 http://{{SERVER}}/file.txt /x", Code: Fails},
}

// Fails is the code of a row that cannot be built.
const Fails = -1
