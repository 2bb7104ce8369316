#!/usr/bin/perl
# Runs the maintainer scripts of a root file system whose packages are unpacked, as dpkg would have
# (spec/packages.md, "Configuring"). Uses what perl-base has.
use strict;
use warnings;

my $ADMIN = '/var/lib/dpkg';
my @DPKG  = qw(dpkg --force-unsafe-io --log=/dev/null);

my %packages = packages();
my %providers;    # name => packages that are it or provide it
for my $name (sort keys %packages) {
    push @{$providers{$_}}, $name for $name, names($packages{$name}{Provides});
}
my (%prepared, %unpacked, %configured);    # how far each package is
# Scripts may use what is essential without saying so.
my @essential = grep { ($packages{$_}{Essential} // '') eq 'yes' } sort keys %packages;
put_back(closure(@essential));

# Everything else may give files to users.
if ($packages{'base-passwd'}) {
    $prepared{'base-passwd'} = 1;
    preinst('base-passwd');
    dpkg('--force-depends', '--configure', 'base-passwd');
    $configured{'base-passwd'} = 1;
}
configure(@essential);
prepare($_) for sort keys %packages;
dpkg('--configure', '--pending');
file_triggers();
dpkg('--triggers-only', '--pending');
complete();
clean();

# The paragraphs of dpkg's status, by name.
sub packages {
    my %found;
    open my $status, '<', "$ADMIN/status" or fail("no database of packages: $!");
    local $/ = '';
    while (my $text = <$status>) {
        $text =~ s/\n[ \t]+/ /g;
        my %fields = $text =~ /^([^\s:]+):[ \t]*(.*)$/mg;
        $fields{info} = $fields{Package};
        $fields{info} .= ":$fields{Architecture}" if ($fields{'Multi-Arch'} // '') eq 'same';
        $found{$fields{Package}} = \%fields;
    }
    return %found;
}

# The names in a relation, without versions and architectures.
sub names {
    my ($relation) = @_;
    return map { /^\s*([^\s:(]+)/ ? $1 : () } split /[,|]/, $relation // '';
}

# The packages here that meet relations.
sub meeting {
    return map { @{$providers{$_} // []} } map { names($_) } @_;
}

sub needs {
    my ($name) = @_;
    return meeting(@{$packages{$name}}{qw(Pre-Depends Depends)});
}

# Packages and all they need.
sub closure {
    my (%found, @ahead);
    @ahead = @_;
    while (defined(my $name = shift @ahead)) {
        push @ahead, needs($name) unless $found{$name}++;
    }
    return sort keys %found;
}

# Puts packages back to where dpkg has them when they are unpacked and not yet configured: all of them are to be, and
# configuration files wait beside their places, so that no program reads them early. The given packages keep theirs.
sub put_back {
    my %keeps = map { $_ => 1 } @_;
    my $text = '';
    open my $old, '<', "$ADMIN/status" or fail("read the database: $!");
    local $/ = '';
    while (my $paragraph = <$old>) {
        $paragraph =~ s/^Status: .*$/Status: install ok unpacked/m;
        my ($name) = $paragraph =~ /^Package: (.*)$/m;
        $paragraph =~ s{^(Conffiles:\n)((?: .*\n)+)}{$1 . waiting($2)}me unless $keeps{$name};
        $text .= $paragraph;
    }
    open my $new, '>', "$ADMIN/status" or fail("write the database: $!");
    print $new $text;
    close $new or fail("write the database: $!");
}

# Lines of configuration files, which are put beside their places.
sub waiting {
    my ($lines) = @_;
    my $waits = sub {
        my ($path) = @_;
        return 0 if -l $path || !-f _;
        return rename($path, "$path.dpkg-new") || fail("rename $path: $!");
    };
    $lines =~ s{^ (.+) ([0-9a-f]{32})$}{" $1 " . ($waits->($1) ? 'newconffile' : $2)}gme;
    return $lines;
}

# Runs preinst of a package after those of all it needs.
sub prepare {
    my ($name) = @_;
    return if $prepared{$name}++;
    prepare($_) for needs($name);
    preinst($name);
}

# Configures packages and all they need.
sub configure {
    my @wanted = closure(@_);
    prepare($_) for @wanted;
    my @now = grep { $unpacked{$_} && !$configured{$_} } @wanted;
    return unless @now;
    # In a circle somebody comes first.
    my @force = grep({ !$unpacked{$_} } @wanted) ? '--force-depends' : ();
    dpkg(@force, '--configure', @now);
    $configured{$_} = 1 for @now;
}

# Runs preinst as on a first installation; its package's files are there already.
sub preinst {
    my ($name) = @_;
    my $package = $packages{$name};
    my $info    = "$ADMIN/info/$package->{info}";
    if (-e "$info.preinst") {
        configure(grep { $_ ne $name } meeting($package->{'Pre-Depends'})) if $name ne 'base-passwd';
        my @files = grep { -l || -e } files($name);
        # Where dpkg has the control files of a package at this moment, and debconf looks for them.
        my $place = "$ADMIN/tmp.ci";
        mkdir $place or fail("mkdir $place: $!");
        for my $file (glob "\Q$info\E.*") {
            my ($kind) = $file =~ /^\Q$info\E\.([^.]+)$/ or next;
            symlink $file, "$place/$kind" or fail("symlink $place/$kind: $!");
        }
        open my $control, '>', "$place/control" or fail("write $place/control: $!");
        print $control "Package: $name\nVersion: $package->{Version}\n";
        close $control or fail("write $place/control: $!");
        local $ENV{DPKG_MAINTSCRIPT_PACKAGE}          = $name;
        local $ENV{DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT} = 1;
        local $ENV{DPKG_MAINTSCRIPT_ARCH}             = $package->{Architecture};
        local $ENV{DPKG_MAINTSCRIPT_NAME}             = 'preinst';
        local $ENV{DPKG_ADMINDIR}                     = $ADMIN;
        local $ENV{DPKG_ROOT}                         = '';
        local $ENV{DPKG_RUNNING_VERSION} = $packages{dpkg}{Version} =~ s/-[^-]*$//r;
        system("$place/preinst", 'install') == 0 or fail("package $name: preinst ended with " . ended());
        unlink glob "$place/*";
        rmdir $place or fail("rmdir $place: $!");
        my @gone = grep { !-l && !-e } @files;
        fail("package $name: its preinst takes files of its own away: @gone") if @gone;
    }
    $unpacked{$name} = 1;
}

# The files of a package.
sub files {
    my ($name) = @_;
    open my $list, '<', "$ADMIN/info/$packages{$name}{info}.list" or fail("the files of $name: $!");
    chomp(my @files = <$list>);
    return @files;
}

# Tells packages that wait for files below a directory that others have put some there.
sub file_triggers {
    open my $triggers, '<', "$ADMIN/triggers/File" or return;
    my %waiting;    # directory => packages
    while (<$triggers>) {
        my ($path, $name) = m{^(\S+) ([^\s:/]+)} or next;
        $waiting{$path}{$name} = 1;
    }
    my %activated;
    for my $name (sort keys %packages) {
        for my $file (files($name)) {
            for (my $path = $file; $path ne ''; $path =~ s{/[^/]*$}{}) {
                my $who = $waiting{$path} or next;
                $activated{$path} //= $name if grep { $_ ne $name } keys %$who;
            }
        }
    }
    for my $path (sort keys %activated) {
        my @trigger = ('dpkg-trigger', '--no-await', "--by-package=$activated{$path}", $path);
        system(@trigger) == 0 or fail("dpkg-trigger $path ended with " . ended());
    }
}

# Everything is installed and nothing waits.
sub complete {
    my %now = packages();
    my @other = grep { $now{$_}{Status} ne 'install ok installed' } sort keys %now;
    fail("not configured: " . join ', ', map { "$_ ($now{$_}{Status})" } @other) if @other;
}

# What tells of this run rather than of the system.
sub clean {
    my @gone = (
        "$ADMIN/*-old", '/var/cache/debconf/*-old', '/etc/{passwd,group,shadow,gshadow,subuid,subgid}-',
        '/var/log/{alternatives,dpkg,bootstrap}.log', '/var/cache/ldconfig/aux-cache',
        '/var/lib/dbus/machine-id', '/tmp/{*,.[!.]*}', '/run/*',
    );
    for my $path (map { glob } @gone) {
        next if $path eq '/run/lock' || !(-l $path || -e _);
        system('rm', '-rf', '--one-file-system', $path) == 0 or fail("rm $path ended with " . ended());
    }
    # One is made at the first boot.
    if (-s '/etc/machine-id') {
        open my $id, '>', '/etc/machine-id' or fail("write /etc/machine-id: $!");
    }
}

sub dpkg {
    system(@DPKG, @_) == 0 or fail("dpkg ended with " . ended());
}

sub ended {
    return $? == -1 ? "an error: $!" : $? & 127 ? 'signal ' . ($? & 127) : 'exit code ' . ($? >> 8);
}

sub fail {
    print STDERR "configure: @_\n";
    exit 1;
}
